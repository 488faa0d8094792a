"""Words of anatomy and imaging technique: all that stays of a free text in an image's header."""

from __future__ import annotations

import re
from typing import Final

ANATOMY: Final = """
abdomen abdominal ankle arm axilla bone brain breast calcaneus carpal cerebral cervical chest clavicle coccyx
colon cspine elbow extremity face facial femur fibula finger foot forearm hand head heart hip humerus jaw
joint kidney knee larynx leg liver lspine lumbar lung mandible maxilla metacarpal nasal neck orbit ovary
pancreas patella pelvis phalanx pituitary prostate radius rib ribs sacrum scapula shoulder sinus skull spine
spleen sternum stomach temporal thigh thorax thoracic thumb tibia toe tspine ulna uterus vertebra wholebody
wrist
"""
TECHNIQUE: Final = """
2d 3d adc age ap angio arterial axial bilateral bold bolus cine contrast cor coronal cr ct cta delay dicom
diffusion dr dti dual dwi dx dynamic echo ep epi erect fast fat fatsat fiesta field flair flash fse full gd
gradient gre head helical high image inversion iso ir lat lateral left localizer low map mammography max mean
min mip motion mpr mprage mr mra mri ms mt multi native nm non oblique os od outphase inphase pa perfusion pet
phase plain plane post posterior pre proton pd portable portal projection ratio reconstruction recovery
reformat resolution right rot routine sag sagittal scan scout se segmented series short slice soft spgr spin
spoiled ssfse standard standing stir supine survey swi t1 t1w t2 t2w t2star tau te thick thin tilt time tir
tissue tof topogram tra transverse true tse turbo ultrasound us upright vein venous vibe view volume weighted
weightbearing weight-bearing window with without xr xray x-ray mammo rx
"""
SMALL: Final = "of the and or in on at for to no l r a p both side image sequence series study exam views w wo c"
WORDS: Final = frozenset((ANATOMY + TECHNIQUE + SMALL).split())
_NUMBER: Final = re.compile(r"\d{1,3}(?:\.\d{1,2})?(?:mm|cm|ms|s|t|deg|kv|mas|st|nd|rd|th)?")


def cleaned(text: str) -> str:
    """What is left of a text: known words and short numbers, in their order and case; empty when nothing is.

    >>> cleaned("MR Brain T1 post Gd, Prof. Miller 0123456")
    'MR Brain T1 post Gd'
    """
    kept = [word for word in re.split(r"[\s_,;:/\\()\[\]+^=.]+(?!\d)|[\s_]", text) if word and _is_plain(word)]
    return " ".join(kept)


def _is_plain(word: str) -> bool:
    lower = word.lower()
    parts = lower.split("-")
    return lower in WORDS or bool(_NUMBER.fullmatch(lower)) or all(part in WORDS for part in parts if part)
