"""Results as DICOM: true to the result and its image, the same again, nobody's name where there is only a pseudonym."""

from __future__ import annotations

import io
from importlib import resources
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pydicom
import pytest
from highdicom.sr import ComprehensiveSR, srread
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import Misconfigured, Poison
from contracts.pseudonyms import Pseudonyms
from contracts.records import ImageResult
from models.imaging.pixels import read
from models.imaging.render import heat_png, preview_png
from producers import returned_codes as codes
from producers.deidentify import deidentify
from producers.image_return import made, path_of, written
from producers.returned_capture import SIDE, capture, drawn
from producers.returned_report import report
from producers.returned_sending import Peer, Service, target
from producers.returned_series import WARNING, restored, source_of
from producers.scanner import exams

NAMES = Pseudonyms(bytes(range(32)))
START_MS = 1_767_225_600_000
PREVIEW = preview_png(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(64, 48))
HEAT = heat_png(np.pad(np.ones((8, 8), np.float32), ((8, 48), (32, 8))))
FINDING = {
    "label": "meningioma",
    "probability": 0.973,
    "probabilities": {"glioma": 0.01, "meningioma": 0.973, "notumor": 0.002, "pituitary": 0.015},
    "positive": True,
    "threshold": 0.42,
    "caveats": ("Trained on single slices.",),
}


def image() -> Any:
    """A brain as the scanner sends it, and what the gateway makes of it."""
    original = next(islice(exams(24, 20260102, START_MS, 15.0), 2, None)).dataset
    header = pydicom.dcmread(io.BytesIO(written(original)), stop_before_pixels=True)
    deidentify(original, NAMES)
    return header, original


def result(stored: Any, **told: Any) -> ImageResult:
    return ImageResult(
        version=1,
        job_id="job-1",
        study=stored.StudyInstanceUID,
        series=stored.SeriesInstanceUID,
        instance=stored.SOPInstanceUID,
        patient=stored.PatientID,
        model=told.pop("model", "brain_tumour"),
        model_sha256="0123456789abcdef" * 4,
        input_sha256="f" * 64,
        code="0a1b2c3",
        body_part=told.pop("body_part", "BRAIN"),
        at_ms=START_MS + 5000,
        **told,
    )


def read_back(dataset: Any) -> Any:
    return pydicom.dcmread(io.BytesIO(written(dataset)))


def texts(dataset: Any) -> list[str]:
    return [item.TextValue for item in named(dataset, "Comment")]


def leaves(items: Any) -> list[Any]:
    return [leaf for item in items for leaf in (item, *leaves(item.get("ContentSequence") or ()))]


def named(dataset: Any, meaning: str) -> list[Any]:
    return [
        one
        for one in leaves(dataset.ContentSequence)
        if one.get("ConceptNameCodeSequence") and one.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def test_a_finding_is_a_coded_concept_with_its_probability_and_the_model_that_told_it() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    sr = read_back(report(told, source_of(stored, told)))
    (finding,) = named(sr, "Finding")
    code = finding.ConceptCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("302820008", "SCT")
    (certainty,) = named(sr, "Certainty of Finding")
    assert certainty.MeasuredValueSequence[0].NumericValue == pytest.approx(97.3)
    assert len([one for one in leaves(sr.ContentSequence) if one.ValueType == "NUM"]) == 5
    (version,) = named(sr, "Algorithm Version")
    assert version.TextValue == told.model_sha256[:12]
    assert f"model sha256 {told.model_sha256}" in [one.TextValue for one in named(sr, "Algorithm Parameters")]
    assert named(sr, "Device Observer Model Name")[0].TextValue == "brain_tumour"
    assert texts(sr)[0] == WARNING
    assert "Trained on single slices." in texts(sr)


def test_highdicom_reads_the_report_as_a_measurement_report() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    sr = srread(io.BytesIO(written(report(told, source_of(stored, told)))))
    assert isinstance(sr, ComprehensiveSR)
    (group,) = sr.content.get_image_measurement_groups()
    assert group.finding_type.value == "302820008"
    assert group.finding_sites[0].value.meaning == "Brain"
    assert group.source_images[0].referenced_sop_instance_uid == stored.SOPInstanceUID
    assert (sr.CompletionFlag, sr.PreliminaryFlag, sr.VerificationFlag) == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")


def test_a_refusal_is_a_report_too_and_says_why() -> None:
    _, stored = image()
    told = result(stored, refusal="out_of_scope", detail="It does not look like a brain.")
    sr = read_back(report(told, source_of(stored, told)))
    (declined,) = named(sr, "Reading declined")
    assert declined.ConceptCodeSequence[0].CodeValue == "out_of_scope"
    assert not named(sr, "Finding")
    assert "Not read (out_of_scope): It does not look like a brain." in texts(sr)


def test_a_measure_has_its_unit_and_its_band() -> None:
    _, stored = image()
    told = result(
        stored, model="bone_age", body_part="HAND", value=131.4, low=112.0, high=150.8, unit="months", caveats=()
    )
    sr = read_back(report(told, source_of(stored, told)))
    values = [one.MeasuredValueSequence[0] for one in leaves(sr.ContentSequence) if one.ValueType == "NUM"]
    assert [float(one.NumericValue) for one in values] == [131.4, 112.0, 150.8]
    assert {one.MeasurementUnitsCodeSequence[0].CodeValue for one in values} == {"mo"}


def test_both_belong_to_the_images_study_in_series_of_their_own_and_refer_to_it() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    objects = made(told, source_of(stored, told), (PREVIEW, HEAT))
    assert list(objects) == ["report", "capture"]
    assert {one.StudyInstanceUID for one in objects.values()} == {stored.StudyInstanceUID}
    series = {one.SeriesInstanceUID for one in objects.values()} | {stored.SeriesInstanceUID}
    assert len(series) == 3
    assert objects["capture"].SourceImageSequence[0].ReferencedSOPInstanceUID == stored.SOPInstanceUID
    evidence = objects["report"].CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == (
        stored.SOPInstanceUID
    )


def test_a_capture_says_that_it_is_derived_and_that_letters_are_burned_in() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    sc = read_back(capture(told, source_of(stored, told), PREVIEW, HEAT))
    assert (sc.BurnedInAnnotation, sc.ConversionType, sc.Modality) == ("YES", "WSD", "OT")
    assert list(sc.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert "brain_tumour 0123456789ab" in sc.DerivationDescription
    equipment = sc.ContributingEquipmentSequence[0]
    assert equipment.ManufacturerModelName == "brain_tumour"
    assert equipment.SoftwareVersions[0] == "0123456789ab"
    assert sc.pixel_array.shape[2] == 3
    assert read(written(sc)).pixels.std() > 0.05


def test_heat_is_drawn_beside_the_untouched_picture() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    both, alone = drawn(told, PREVIEW, HEAT, "1.2"), drawn(told, PREVIEW, None, "1.2")
    width = round(48 * SIDE / 64)
    left = (both.shape[1] - 2 * width - 8) // 2
    plain, hot = both[:SIDE, left : left + width], both[:SIDE, left + width + 8 : left + 2 * width + 8]
    assert (plain == plain[..., :1]).all(), "the preview is grey"
    spot = np.abs(hot.astype(int) - plain).max(axis=-1) > 40
    rows, cols = np.nonzero(spot)
    assert rows.mean() == pytest.approx(12 / 64 * SIDE, abs=6)
    assert cols.mean() == pytest.approx(36 / 48 * width, abs=6)
    assert (alone[:SIDE] == alone[:SIDE, :, :1]).all()


def test_the_same_result_is_the_same_bytes_and_other_models_or_images_are_other_instances() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    source = source_of(stored, told)

    def both(one: ImageResult, of: Any) -> list[bytes]:
        return [written(each) for each in made(one, of, (PREVIEW, HEAT)).values()]

    assert both(told, source) == both(told, source_of(stored, told))
    later = msgspec.structs.replace(told, at_ms=told.at_ms + 60_000, took_ms=7, attempt=2)
    uids = [one.SOPInstanceUID for one in made(told, source, (PREVIEW, HEAT)).values()]
    assert [one.SOPInstanceUID for one in made(later, source, (PREVIEW, HEAT)).values()] == uids
    other = msgspec.structs.replace(told, model_sha256="a" * 64)
    assert not {one.SOPInstanceUID for one in made(other, source, (PREVIEW, HEAT)).values()} & set(uids)


def test_what_lies_on_hdfs_names_nobody_and_does_not_tell_the_shift() -> None:
    header, stored = image()
    told = result(stored, **FINDING)
    for one in made(told, source_of(stored, told), (PREVIEW, HEAT)).values():
        content = written(one)
        for name in (str(header.PatientID), *str(header.PatientName).split("^"), str(header.StudyInstanceUID)):
            assert name.encode() not in content
        assert str(header.StudyDate).encode() not in content.replace(one.get("PixelData", b"") or b"", b"")
        back = read_back(one)
        assert back.PatientIdentityRemoved == "YES"
        assert back.ContentDate == stored.ContentDate == stored.StudyDate != header.StudyDate


def test_what_goes_home_is_as_the_hospital_knows_it() -> None:
    header, stored = image()
    told = result(stored, **FINDING)
    kept = ("PatientID", "PatientName", "StudyDate", "StudyTime", "StudyInstanceUID", "SeriesInstanceUID")
    originals = {name: str(header.get(name)) for name in (*kept, "SOPInstanceUID", "AccessionNumber", "SOPClassUID")}
    home = made(told, restored(source_of(stored, told), originals), (PREVIEW, HEAT))
    here = made(told, source_of(stored, told), (PREVIEW, HEAT))
    for kind, one in home.items():
        content, back = written(one), read_back(one)
        assert [str(back.get(name)) for name in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate")] == [
            originals[name] for name in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate")
        ]
        assert "PatientIdentityRemoved" not in back
        assert (back.ContentDate, back.ContentTime) == ("20260101", "000005")
        assert header.SOPInstanceUID.encode() in content
        for pseudonym in (stored.PatientID, stored.StudyInstanceUID, stored.SOPInstanceUID):
            assert str(pseudonym).encode() not in content
        assert back.SOPInstanceUID != here[kind].SOPInstanceUID


def test_a_result_whose_image_is_gone_has_a_report_all_the_same() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    sr = read_back(report(told, source_of(None, told)))
    assert sr.PatientID == stored.PatientID
    assert named(sr, "Source of Measurement")


@pytest.mark.parametrize(("part", "side", "told_as"), [("KNEE", "L", "L"), ("KNEE", "B", ""), ("BRAIN", "L", None)])
def test_a_capture_of_one_of_two_says_which(part: str, side: str, told_as: str | None) -> None:
    _, stored = image()
    stored.BodyPartExamined, stored.ImageLaterality = part, side
    told = result(stored, **FINDING)
    assert capture(told, source_of(stored, told), PREVIEW, None).get("Laterality") == told_as


def test_a_picture_that_is_none_costs_the_capture_and_not_the_report() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    source = source_of(stored, told)
    assert list(made(told, source, (b"no png", None))) == ["report"]
    assert list(made(told, source, (None, HEAT))) == ["report"]


labels = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=80)


@settings(max_examples=15, deadline=None)
@given(label=labels, refusal=st.none() | labels, detail=labels, probability=st.floats(0, 1))
def test_whatever_a_model_says_becomes_a_report_that_can_be_read(
    label: str, refusal: str | None, detail: str, probability: float
) -> None:
    _, stored = image()
    told = result(stored, label=label, probability=probability, refusal=refusal, detail=detail, model="other")
    back = srread(io.BytesIO(written(report(told, source_of(stored, told)))))
    assert back.StudyInstanceUID == stored.StudyInstanceUID
    assert drawn(told, PREVIEW, None, "1.2").shape[2] == 3


def test_every_label_of_the_shipped_samples_has_a_code() -> None:
    folder = resources.files("producers").joinpath("samples", "images")
    rows = folder.joinpath("images.csv").read_text().splitlines()[1:]
    for row in rows:
        _, name, label, *_ = row.split(",")
        model = {"brain_mri": "brain_tumour"}.get(name, name)
        value, scheme, _ = codes.of_label(model, label)
        assert (scheme == "SCT" and value.isdigit()) == (label != "notumor")


def test_where_results_go_is_a_peer_or_a_url_and_nothing_else() -> None:
    peer, service = target("PACS@127.0.0.1:104", "WARDSTREAM"), target("https://u:p@pacs/rs?x=1", "WARDSTREAM")
    assert isinstance(peer, Peer)
    assert isinstance(service, Service)
    assert "p@" not in service.name
    for wrong in ("PACS", "PACS@host", "PACS@host:x", "file:///etc", "AETITLEOFMORETHANSIXTEEN@h:1", "ftp://x"):
        with pytest.raises(Misconfigured):
            target(wrong, "WARDSTREAM")


@pytest.mark.parametrize("uri", ["", "images/x", "hdfs:///images/../identified/x", "/images//x", "file:///etc/passwd"])
def test_no_path_leads_upwards(uri: str) -> None:
    with pytest.raises(Poison):
        path_of(uri)


def test_a_capture_is_a_picture_that_pillow_shows_too() -> None:
    _, stored = image()
    told = result(stored, **FINDING)
    sc = read_back(capture(told, source_of(stored, told), PREVIEW, HEAT))
    assert Image.fromarray(sc.pixel_array).size == (sc.Columns, sc.Rows)
