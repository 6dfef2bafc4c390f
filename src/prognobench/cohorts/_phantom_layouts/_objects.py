"""DICOM objects around synthetic films."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._dicom import require_pydicom

_NOTICE = "SYNTHETIC film made by prognobench"


def film_object(levels: NDArray[Any], identity: tuple[str, ...], **tags: Any) -> Any:
    """Return the DICOM object of a gray film, not compressed.

    Parameters
    ----------
    levels
        Shape (rows, columns), integers of 8 or 16 bits, signed or not.
    identity
        What makes its patient, study, series and image, in this order; equal beginnings share those.
    tags
        Further elements by keyword; they replace what is written here, and None takes an element away.
    """
    pydicom = require_pydicom()
    dataset = pydicom.dataset.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    for name, length in zip(names, (2, 3, 4), strict=True):
        setattr(dataset, name, pydicom.uid.generate_uid(entropy_srcs=["prognobench phantom", *identity[:length]]))
    bits = 8 * levels.dtype.itemsize
    stored = bits if bits == 8 else max(int(levels.max()).bit_length() + (levels.dtype.kind == "i"), 9)
    elements = {
        "SOPClassUID": pydicom.uid.DigitalXRayImageStorageForPresentation,
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": "DX",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "PatientID": identity[0],
        "PatientName": "SYNTHETIC^PHANTOM",
        "StudyDescription": "XR CHEST",
        "SeriesDescription": "CHEST",
        "ImageComments": _NOTICE,
        "InstanceNumber": 1,
        "Rows": levels.shape[0],
        "Columns": levels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(levels.dtype.kind == "i"),
        "PixelSpacing": [0.143, 0.143],
        "BurnedInAnnotation": "NO",
    }
    for keyword, value in (elements | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.BitsAllocated = bits  # decides how the pixels are written
    data = levels.astype(levels.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def compress(dataset: Any, syntax: str) -> Any:
    """Return the object with its pixels compressed; `syntax` is the keyword of a transfer syntax of pydicom.

    JPEG baseline, which loses what the eye does not miss, is written by Pillow and the others by pydicom's encoders.
    """
    pydicom = require_pydicom()
    uid = getattr(pydicom.uid, syntax)
    if syntax == "JPEGBaseline8Bit":
        shape = (dataset.Rows, dataset.Columns)
        stream = io.BytesIO()
        Image.fromarray(np.frombuffer(dataset.PixelData, np.uint8)[: shape[0] * shape[1]].reshape(shape)).save(
            stream, "JPEG", quality=95
        )
        dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = uid
    elif uid.is_compressed:
        dataset.compress(uid, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = uid
    return dataset


def save_object(dataset: Any, path: Path) -> None:
    """Write an object; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
