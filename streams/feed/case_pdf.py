"""One case on a page of PDF: picture, heat, numbers, caveats, and what it was made from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from contracts.errors import Misconfigured

DISCLAIMER: Final = "Research software, not a medical device. Nothing on this page may decide about care."
HEAT_NOTE: Final = "Heat shows what moved the model most. It is not proof, and not an outline of a finding."
MARGIN: Final = 15.0
WIDTH: Final = 180.0
LABELS: Final = {"notumor": "No tumour", "pituitary": "Pituitary tumour"}
HEAT_SHOWN: Final = 0.7
INK, SOFT, PALE = (16, 22, 29), (70, 84, 95), (228, 233, 239)


def made(case: Mapping[str, Any], preview: bytes | None, heat: bytes | None) -> bytes:
    """The PDF of a case as ``ImageApi.image`` tells it; a picture that is None is said to be missing.

    Raises Misconfigured, with the fix, where fpdf2 is not installed.
    """
    try:
        from fpdf import FPDF
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            "a PDF needs fpdf2: `uv sync --inexact --extra images`, then start the feed again"
        ) from missing
    pdf = FPDF(format="A4")
    pdf.set_margin(MARGIN)
    pdf.set_auto_page_break(auto=True, margin=MARGIN)
    pdf.set_title(_plain(f"Result {case['result']['job_id']}"))
    pdf.set_creator("Wardstream")
    pdf.add_page()
    page = _Page(pdf)
    page.head(case)
    page.pictures(preview, heat)
    page.numbers(case)
    page.words(case)
    page.provenance(case)
    return bytes(pdf.output())


class _Page:
    """Writes from top to bottom."""

    def __init__(self, pdf: Any) -> None:
        self.pdf = pdf

    def line(self, text: str, size: float = 10, style: str = "", soft: bool = False) -> None:
        """A paragraph."""
        self.pdf.set_font("helvetica", style, size)
        self.pdf.set_text_color(*(SOFT if soft else INK))
        self.pdf.multi_cell(WIDTH, size * 0.5, _plain(text), new_x="LMARGIN", new_y="NEXT")

    def title(self, text: str) -> None:
        """A heading with room above."""
        self.pdf.ln(3)
        self.line(text, 12, "B")
        self.pdf.ln(0.5)

    def facts(self, pairs: Sequence[tuple[str, Any]], font: str = "helvetica") -> None:
        """Names and values in two columns; what is None is left out."""
        for name, value in pairs:
            if value is None:
                continue
            self.pdf.set_font("helvetica", "", 9)
            self.pdf.set_text_color(*SOFT)
            self.pdf.cell(42, 5, _plain(name))
            self.pdf.set_font(font, "", 9)
            self.pdf.set_text_color(*INK)
            self.pdf.multi_cell(WIDTH - 42, 5, _plain(str(value)), new_x="LMARGIN", new_y="NEXT")

    def head(self, case: Mapping[str, Any]) -> None:
        """What it is, of whom, and that it is research."""
        result = case["result"]
        self.pdf.set_fill_color(*PALE)
        self.pdf.set_font("helvetica", "B", 10)
        self.pdf.set_text_color(*INK)
        self.pdf.cell(WIDTH, 8, _plain(DISCLAIMER), fill=True, align="C", new_x="LMARGIN", new_y="NEXT")
        self.pdf.ln(3)
        self.line(said(result), 17, "B")
        self.line(f"{words(result['model'])}, version {result['model_sha256'][:12]}", 10, soft=True)
        self.pdf.ln(1.5)
        what = " ".join(filter(None, (result.get("modality"), result.get("body_part"), result.get("view")))) or None
        self.facts(
            [
                ("Patient", result.get("patient")),
                ("Image", what),
                ("Arrived", _moment(result.get("arrived_ms"))),
                ("Read", _moment(result["at_ms"])),
                ("State", _state(case)),
            ]
        )

    def pictures(self, preview: bytes | None, heat: bytes | None) -> None:
        """The image, and beside it the same with its heat."""
        self.pdf.ln(3)
        if preview is None:
            self.line("The picture could not be read from HDFS when this page was made.", 10, "I")
            return
        top, half = self.pdf.get_y(), (WIDTH - 6) / 2
        drawn = self.pdf.image(io.BytesIO(preview), MARGIN, top, w=half, h=half, keep_aspect_ratio=True)
        if heat is not None:
            self.pdf.image(io.BytesIO(preview), MARGIN + half + 6, top, w=half, h=half, keep_aspect_ratio=True)
            with self.pdf.local_context(fill_opacity=HEAT_SHOWN):
                self.pdf.image(io.BytesIO(heat), MARGIN + half + 6, top, w=half, h=half, keep_aspect_ratio=True)
        self.pdf.set_y(top + max(half, drawn.rendered_height) + 2)
        self.line(HEAT_NOTE if heat is not None else "No heat map was made of this image.", 9, soft=True)

    def numbers(self, case: Mapping[str, Any]) -> None:
        """Every class with its probability, the threshold; or the measure with its band."""
        result = case["result"]
        if result.get("value") is not None:
            self.title("Measure")
            unit = result.get("unit") or ""
            self.line(f"{result['value']:.1f} {unit}", 12, "B")
            if result.get("low") is not None and result.get("high") is not None:
                self.line(f"90 % of cases lie within {result['low']:.1f} to {result['high']:.1f} {unit}.", 10)
        if not result.get("probabilities"):
            return
        self.title("Calibrated probabilities")
        threshold, summed = result.get("threshold"), case.get("finding_probability")
        for label, share in result["probabilities"].items():
            alone = summed is None and label == result.get("label")
            self._bar(words(label), share, threshold if alone else None)
        if summed is not None:
            self._bar("Any finding", summed, threshold)
        if threshold is not None:
            self.line(f"Told as a finding from {percent(threshold)} on, where the mark stands.", 9, soft=True)

    def _bar(self, name: str, share: float, threshold: float | None) -> None:
        pdf, left, wide = self.pdf, MARGIN + 42, 110.0
        pdf.set_font("helvetica", "", 9)
        pdf.set_text_color(*INK)
        top = pdf.get_y()
        pdf.cell(42, 5, _plain(name))
        pdf.set_fill_color(*PALE)
        pdf.rect(left, top + 1, wide, 3, style="F")
        pdf.set_fill_color(*INK)
        pdf.rect(left, top + 1, wide * share, 3, style="F")
        if threshold is not None:
            pdf.set_draw_color(*INK)
            pdf.set_line_width(0.6)
            pdf.line(left + wide * threshold, top - 0.4, left + wide * threshold, top + 5.4)
        pdf.set_xy(left + wide + 3, top)
        pdf.cell(24, 5, percent(share), new_x="LMARGIN", new_y="NEXT")

    def words(self, case: Mapping[str, Any]) -> None:
        """Caveats, and what a reader made of it."""
        result, verdict = case["result"], case.get("verdict")
        if result.get("caveats"):
            self.title("Caveats")
            for caveat in result["caveats"]:
                self.line(f"- {caveat}", 10)
        if verdict is not None:
            self.title("Reader")
            right = verdict["label"] if verdict["label"] is not None else verdict["value"]
            self.line(
                f"{verdict['verdict']}ed by {verdict['actor']}, {_moment(verdict['at_ms'])}"
                + (f": {words(str(right))}" if right is not None else "")
            )
            if verdict.get("note"):
                self.line(verdict["note"], 10, "I")

    def provenance(self, case: Mapping[str, Any]) -> None:
        """With these the result can be walked back to the bytes that it was made from."""
        result = case["result"]
        self.title("Made from")
        names = ("job_id", "study", "series", "instance", "uri", "input_sha256", "model_sha256", "code")
        self.facts([(name, result.get(name)) for name in names], font="courier")


def said(result: Mapping[str, Any]) -> str:
    """The result in a few words."""
    if result.get("refusal"):
        return f"Not read: {result.get('detail') or words(result['refusal'])}"
    if result.get("value") is not None:
        return f"{result['value']:.1f} {result.get('unit') or ''}".strip()
    sure = f", {percent(result['probability'])}" if result.get("probability") is not None else ""
    return f"{words(result.get('label') or 'no label')}{sure}"


def words(name: str) -> str:
    """A stable name as it is written: brain_tumour is Brain tumour."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def percent(share: float) -> str:
    """A probability as the pages write it."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{round(share * 100)} %"


def _state(case: Mapping[str, Any]) -> str | None:
    finding = case.get("finding")
    return None if finding is None else f"{finding['state']}, {finding['priority']} priority"


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(text: str) -> str:
    """What the built-in fonts can write."""
    for fancy, simple in (("\u2013", "-"), ("\u2014", "-"), ("\u2265", ">="), ("\u2264", "<="), ("\u2019", "'")):
        text = text.replace(fancy, simple)
    return text.encode("latin-1", "replace").decode("latin-1")
