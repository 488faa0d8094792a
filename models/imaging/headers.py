"""What a DICOM header may tell outside the identified zone: a list of attributes, each with the form it may have.

Nothing is passed on because it looks harmless: what is not in ``Told`` is not read, words come from the standard's own
terms, identifiers become pseudonyms, dates move by the patient's shift, and an age of 90 or more is told as 90.
"""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import date
from typing import Any, Final

import msgspec

from contracts.errors import Poison
from contracts.pseudonyms import Pseudonyms
from models.imaging.dicom import value


def _terms(words: str) -> tuple[str, ...]:
    return tuple(words.split())


OLDEST: Final = 90.0
UNKNOWN: Final = "unknown"
MODALITIES: Final = _terms(
    "AR AU BDUS BI BMD CR CT DG DOC DX ECG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR NM OAM OCT OP OPM "
    "OPT OPV OSS OT PLAN PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT RWV SEG SM SMR SR SRF STAIN "
    "TG US VA XA XC"
)
"""Defined terms of (0008,0060), PS3.3, C.7.3.1.1.1."""
BODY_PARTS: Final = _terms(
    "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS CALF "
    "CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA "
    "CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT FOREARM "
    "GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS ILEUM ILIUM IAC JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE "
    "LSSPINE LUNG MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT OVARY "
    "PANCREAS PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE RECTUM RIB SACRUM SCALP SCAPULA SCLERA SCROTUM SHOULDER "
    "SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THUMB THYMUS THYROID TIBIA TLSPINE TOE "
    "TONGUE TRACHEA TSPINE URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA"
)
"""Defined terms of (0018,0015), PS3.16, annex L, that occur in practice; compared without spaces."""
VIEWS: Final = _terms("AP PA LL RL RLD LLD RLO LLO LAT CC MLO ML LM LMO SIO FB XCCL XCCM AT ISO OBL AXIAL")
MAKERS: Final = _terms(
    "Agfa Canon Carestream Esaote FUJIFILM GE Hitachi Hologic Kodak Konica Mindray Neusoft Philips Samsung Shimadzu "
    "Siemens Toshiba Varian"
)
PATIENT: Final = re.compile(r"p-[0-9a-f]{16}")
_AGE: Final = re.compile(r"(\d{3})([DWMY])")
_YEARS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A header, de-identified. ``study_date`` is ISO 8601, shifted; ``age_years`` at the study, at most 90."""

    modality: str = UNKNOWN
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    instance: str | None = None
    body_part: str | None = None
    view: str | None = None
    laterality: str | None = None
    study_date: str | None = None
    sex: str | None = None
    age_years: float | None = None
    manufacturer: str | None = None


def told(dataset: Any, names: Pseudonyms | None) -> Told:
    """What may be told of a parsed DICOM file (None, a picture: nothing).

    Without ``names`` the file is one that the gateway de-identified: its identifiers and dates are taken as they are,
    and Poison ``not_deidentified`` is raised when its patient is no pseudonym.
    """
    if dataset is None:
        return Told()
    patient, subject = _word(dataset, "PatientID"), _word(dataset, "StudyInstanceUID")
    if names is None and patient is not None and not PATIENT.fullmatch(patient):
        raise Poison("not_deidentified", "the patient's id is no pseudonym; only de-identified files are expected here")
    day = next(filter(None, (_day(dataset, f"{which}Date") for which in ("Study", "Series", "Acquisition"))), None)
    return Told(
        modality=_term(dataset, "Modality", MODALITIES) or UNKNOWN,
        patient=names.patient(patient) if names and patient else patient,
        study=_uid(dataset, "StudyInstanceUID", names),
        series=_uid(dataset, "SeriesInstanceUID", names),
        instance=_uid(dataset, "SOPInstanceUID", names),
        body_part=_term(dataset, "BodyPartExamined", BODY_PARTS),
        view=_term(dataset, "ViewPosition", VIEWS) or _plane(dataset),
        laterality=_term(dataset, "ImageLaterality", {"L", "R"}) or _term(dataset, "Laterality", {"L", "R"}),
        study_date=_moved(day, patient or subject, names),
        sex=_term(dataset, "PatientSex", {"F", "M", "O"}),
        age_years=_age(dataset, day),
        manufacturer=_maker(dataset),
    )


def _word(dataset: Any, keyword: str) -> str | None:
    """An attribute's text; None for an empty one, or one that is no plain value."""
    found = value(dataset, keyword)
    text = str(found).strip("\0 ") if isinstance(found, (str, int)) else ""
    return text or None


def _term(dataset: Any, keyword: str, known: Container[str]) -> str | None:
    text = re.sub(r"[\s_/-]", "", _word(dataset, keyword) or "").upper()
    return text if text in known else None


def _uid(dataset: Any, keyword: str, names: Pseudonyms | None) -> str | None:
    found = _word(dataset, keyword)
    return names.uid(found) if names and found else found


def _day(dataset: Any, keyword: str) -> date | None:
    text = (_word(dataset, keyword) or "").replace(".", "")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if re.fullmatch(r"\d{8}", text) else None
    except ValueError:
        return None


def _moved(day: date | None, subject: str | None, names: Pseudonyms | None) -> str | None:
    """A date of nobody stays untold: there is nothing to shift it by."""
    if day is None or (names is not None and subject is None):
        return None
    return (names.shifted(day, subject) if names and subject else day).isoformat()


def _age(dataset: Any, day: date | None) -> float | None:
    found = _AGE.fullmatch(_word(dataset, "PatientAge") or "")
    born = _day(dataset, "PatientBirthDate")
    if found:
        years = round(int(found[1]) * _YEARS[found[2]], 2)
    elif born is not None and day is not None and day >= born:
        years = round((day - born).days / 365.25, 1)
    else:
        return None
    return min(years, OLDEST)


def _plane(dataset: Any) -> str | None:
    """axial, coronal or sagittal, by the axis along which the image plane's normal is longest."""
    found = value(dataset, "ImageOrientationPatient")
    try:
        a, b, c, d, e, f = (float(one) for one in found)
    except (TypeError, ValueError):
        return None
    normal = (abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d))
    return ("sagittal", "coronal", "axial")[normal.index(max(normal))] if max(normal) > 0 else None


def _maker(dataset: Any) -> str | None:
    """One of the well-known makers: the attribute is free text, and there is no telling what stands in it."""
    text = (_word(dataset, "Manufacturer") or "").lower()
    if not text:
        return None
    return next((maker for maker in MAKERS if re.search(rf"\b{maker.lower()}\b", text)), "other")
