"""Images in a real browser on real servers: upload, result, heat, judgement, PDF; and the workbench's two modes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from infra.site import CHECKOUT
from infra.stack import Stack
from models.registry import Registry
from streams.feed.access import Role, Users
from tests.e2e.wall import THEMES, chromium, picture, started
from tests.unit.models.imaging.small_models import AGE, TUMOUR, kept

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]

SAMPLE: Final = CHECKOUT / "producers" / "samples" / "images" / "bm00069.jpg"
SLOW_MS: Final = 60_000
DARK_IS_GLIOMA: Final = msgspec.structs.replace(TUMOUR, labels=("notumor", "glioma"))
"""The tests' own model, turned round: a slice of a brain is mostly dark."""


@pytest.fixture(scope="module")
def image_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that images go through, of this module's own, with models that are made in a moment."""
    state = tmp_path_factory.mktemp("images") / "state"
    registry = Registry(state / "models")
    kept(registry, "brain_tumour", DARK_IS_GLIOMA)
    kept(registry, "bone_age", AGE)
    with started(state, ["feed", "gateway", "imaging", "image-worker"], {"WARD_FEED_DEMO": "true"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def url(image_stack: Stack) -> str:
    """The feed's address."""
    return image_stack.site().url("feed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Real Chromium."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page at 1920x1080; what it complains of fails the test."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.set_default_timeout(SLOW_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert complaints == []


def add(page: Page, file: Path, kind: str = "Brain, MRI slice", patient: str | None = None) -> None:
    """Add a file as a person does."""
    page.get_by_label("What it shows").select_option(kind)
    if patient is not None:
        page.get_by_text("About the patient").click()
        page.get_by_label("Patient identifier").fill(patient)
    page.locator("input[type=file]").set_input_files(file)


def opacity(page: Page) -> float:
    """How much of the heat is seen."""
    return float(page.locator(".frame .heat").evaluate("node => getComputedStyle(node).opacity"))


def found(page: Page, case: str) -> Locator:
    """The finding on the list whose result has this address."""
    return page.locator(f'.finding:has(a[href="{urlsplit(case).path}"])')


@pytest.fixture(scope="module")
def case_url(browser: Browser, url: str) -> str:
    """The page of an image that was uploaded, read and found positive."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{url}/images")
    add(page, SAMPLE, patient="MRN 4711")
    opened = page.get_by_role("link", name="Open the result")
    expect(opened).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".files li")).to_contain_text(re.compile(r"Glioma, .*%"))
    expect(found(page, f"{url}{opened.get_attribute('href')}")).to_contain_text("Brain tumour", timeout=SLOW_MS)
    picture(page, "images-after-upload")
    opened.click()
    expect(page.locator("h1")).to_contain_text("Glioma", timeout=SLOW_MS)
    address = page.url
    page.close()
    return address


def test_an_uploaded_image_is_seen_with_its_heat_and_judged_and_printed(page: Page, url: str, case_url: str) -> None:
    page.goto(f"{url}/images")
    expect(found(page, case_url)).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("j")
    expect(page.locator(".finding a").first).to_be_focused()
    found(page, case_url).locator("a").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(case_url, timeout=SLOW_MS)

    expect(page.locator(".frame[data-state=shown]")).to_be_visible(timeout=SLOW_MS)
    for image in ("picture", "heat"):
        page.wait_for_function(f"document.querySelector('.frame .{image}').naturalWidth > 100", timeout=SLOW_MS)
    expect(page.locator("main")).to_contain_text("It is not proof")
    expect(page.locator("main")).to_contain_text("Research software, not a medical device")
    expect(page.locator(".bars li")).to_have_count(3)
    expect(page.locator(".bars [data-marked=yes]")).to_contain_text("Any finding")
    expect(page.locator("main")).to_contain_text("A test's own model.")
    slider = page.get_by_label("Heat overlay")
    slider.focus()
    slider.press("ArrowRight")
    assert opacity(page) == pytest.approx(0.65)
    page.keyboard.press("h")
    assert opacity(page) == 0.0
    page.keyboard.press("h")
    assert opacity(page) == pytest.approx(0.65)
    assert "MRN 4711" not in page.content()
    picture(page, "image-case")

    page.get_by_role("button", name="Record").click()
    expect(page.locator("#judge-said")).to_have_text("Choose accept or reject first.")
    page.get_by_label("Reject: it is something else").check()
    page.get_by_label("What is right").select_option("No tumour")
    page.get_by_label("Note (no names)").fill("artefact at the edge")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#judge-said")).to_have_text("Recorded. The log has it.", timeout=SLOW_MS)
    expect(page.locator(".judge .judged")).to_contain_text("rejected by demo-nurse", timeout=SLOW_MS)
    expect(page.locator(".judge .judged")).to_contain_text("right is: No tumour")
    expect(page.locator(".on-list")).to_contain_text("rejected by demo-nurse", timeout=SLOW_MS)
    picture(page, "image-judged")

    address = page.get_by_role("link", name="PDF of this case").get_attribute("href")
    pdf = page.request.get(f"{url}{address}", timeout=SLOW_MS)
    assert (pdf.headers["content-type"], pdf.body()[:5]) == ("application/pdf", b"%PDF-")
    page.get_by_role("link", name="All images").click()
    page.get_by_role("button", name="Done").click()
    expect(found(page, case_url)).to_contain_text("rejected by demo-nurse", timeout=SLOW_MS)
    page.get_by_role("button", name="Waiting").click()
    expect(found(page, case_url)).to_have_count(0)


def test_what_is_no_image_is_not_let_in_and_says_why(page: Page, url: str, tmp_path: Path, case_url: str) -> None:
    page.goto(f"{url}/images")
    letter = tmp_path / "letter.dcm"
    letter.write_bytes(b"Dear colleague, " * 40)
    add(page, letter, "A DICOM file says it itself")
    expect(page.locator(".files li")).to_contain_text("not let in: The file is no DICOM", timeout=SLOW_MS)
    expect(page.locator(".recent .plain").first).to_contain_text("The file is no DICOM", timeout=SLOW_MS)
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    add(page, empty)
    expect(page.locator(".files li").first).to_contain_text("empty, not sent")
    page.get_by_label("What it shows").select_option("Something else")
    page.get_by_label("Body part").fill("TAIL")
    page.locator("input[type=file]").set_input_files(SAMPLE)
    expect(page.locator(".field .error:visible")).to_contain_text("none of DICOM's terms", timeout=SLOW_MS)
    picture(page, "images-refused")


def test_the_workbench_reads_an_image_and_what_is_known_of_a_patient(page: Page, url: str, case_url: str) -> None:
    page.goto(f"{url}/workbench")
    add(page, SAMPLE, patient="MRN 4711")
    expect(page.locator(".bench-result h3")).to_contain_text("Glioma", timeout=SLOW_MS)
    expect(page.locator(".bench-result .bars li")).to_have_count(2, timeout=SLOW_MS)
    picture(page, "workbench-image")
    page.get_by_role("tab", name="Image").press("ArrowRight")
    expect(page.get_by_role("tab", name="Patient data")).to_be_focused()
    page.get_by_label("Age needed").fill("300")
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#risk-age-error")).to_contain_text("out of range", timeout=SLOW_MS)
    expect(page.locator("#risk-sex")).to_be_focused()
    page.get_by_label("Sex needed").select_option("female")
    page.get_by_label("Age needed").fill("71")
    page.get_by_label("Fractures so far").fill("hip fracture")
    page.get_by_role("button", name="Assess").click()
    expect(page.locator(".answer .bars li")).to_have_count(3, timeout=SLOW_MS)
    expect(page.locator(".answer")).to_contain_text("What drives it")
    expect(page.locator(".answer .drivers")).to_contain_text("hip fracture")
    picture(page, "workbench-patient")


def test_a_viewer_may_look_but_neither_add_nor_judge(
    browser: Browser, url: str, image_stack: Stack, case_url: str
) -> None:
    users = Users(Path(image_stack.environment()["WARD_FEED_USERS"]))
    token = users.add(f"visitor-{time.time_ns()}", Role.VIEWER)
    page = browser.new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{url}/static/images.html")
    page.get_by_label("Access token").fill(token)
    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.ok):
        page.keyboard.press("Enter")
    page.goto(case_url)
    expect(page.locator(".judge")).to_contain_text("may look but not judge", timeout=SLOW_MS)
    page.goto(f"{url}/images")
    expect(page.locator(".upload")).to_contain_text("may look but not add images")
    page.close()


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_to_complain_of_in_the_image_pages(
    browser: Browser, url: str, case_url: str, theme: str
) -> None:
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.set_default_timeout(SLOW_MS)
    page.add_init_script(f"localStorage.setItem('ward.theme', '{theme}')")

    def judged(view: str) -> None:
        picture(page, f"{view}-{theme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}, {theme}:\n{found.generate_report()}"

    page.goto(f"{url}/images?state=all")
    expect(page.locator(".finding").first).to_be_visible(timeout=SLOW_MS)
    judged("images")
    page.goto(case_url)
    expect(page.locator(".frame[data-state=shown]")).to_be_visible(timeout=SLOW_MS)
    page.get_by_label("Reject: it is something else").check()
    judged("image")
    page.goto(f"{url}/workbench#patient")
    expect(page.locator("#risk-age")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#risk-age-error")).to_be_visible(timeout=SLOW_MS)
    judged("workbench")
    for control in page.locator("button:visible, a.button:visible, select:visible, nav a:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 44, control.inner_text()
    page.goto(f"{url}/api/models/brain_tumour/{Registry().resolve('brain_tumour', 'champion')}/card")
    expect(page.locator("h1")).to_contain_text("brain_tumour")
    judged("model-card")
    page.set_viewport_size({"width": 820, "height": 1180})
    judged("model-card-820")
    page.goto(f"{url}/images?state=all")
    expect(page.locator(".finding").first).to_be_visible(timeout=SLOW_MS)
    judged("images-820")
    page.close()
