"""Images made up for tests: DICOM datasets and pictures as bytes."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTITY = {
    "PatientName": "Planted^Name",
    "PatientID": "MRN-PLANTED-77",
    "PatientBirthDate": "19500203",
    "OtherPatientIDs": "OTHER-PLANTED",
    "AccessionNumber": "ACC-PLANTED",
    "InstitutionName": "Planted General",
    "ReferringPhysicianName": "Planted^Doctor",
    "StudyDescription": "planted words",
    "StudyInstanceUID": "1.2.826.0.1.77.1",
    "SeriesInstanceUID": "1.2.826.0.1.77.2",
    "SOPInstanceUID": "1.2.826.0.1.77.3",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "PatientAge": "074Y",
    "PatientSex": "F",
    "BodyPartExamined": "KNEE",
    "ViewPosition": "AP",
    "Laterality": "L",
    "Manufacturer": "SIEMENS Healthineers",
}


def gradient(rows: int = 40, cols: int = 60, top: int = 4000) -> NDArray[np.uint16]:
    """Dark left, bright right."""
    return np.tile(np.linspace(0, top, cols).astype(np.uint16), (rows, 1))


def dicom(array: NDArray[Any] | None = None, syntax: str | None = None, **attributes: Any) -> bytes:
    """A DICOM file of Explicit VR Little Endian (or ``syntax``), 12 bits in 16, with these attributes on top."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    array = gradient() if array is None else array
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax or pydicom.uid.ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(IDENTITY["SOPInstanceUID"])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = array.ndim == 3 and array.shape[-1] == 3
    given: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "Modality": "DX",
        **IDENTITY,
        "Rows": array.shape[-3] if colour else array.shape[-2],
        "Columns": array.shape[-2] if colour else array.shape[-1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": array.dtype.itemsize * 8,
        "BitsStored": 8 if array.dtype.itemsize == 1 else 12,
        "PixelRepresentation": int(array.dtype.kind == "i"),
        "PixelData": array.tobytes(),
    }
    if colour:
        given["PlanarConfiguration"] = 0
    elif array.ndim == 3:
        given["NumberOfFrames"] = array.shape[0]
    out = io.BytesIO()
    with warnings.catch_warnings():  # of values that are wrong on purpose
        warnings.simplefilter("ignore")
        for keyword, value in (given | {"HighBit": given["BitsStored"] - 1} | attributes).items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def picture(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    """A JPEG, PNG or TIFF."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(array).save(out, kind.upper(), **options)
    return out.getvalue()
