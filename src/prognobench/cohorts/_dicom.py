"""DICOM: what a file is, told from its header, and the gray values of a radiograph as it is meant to be seen.

The decoders come with `pip install prognobench[dicom]`; none of them is under the GPL.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import struct
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prognobench.frame import InputError, Problem

from ._films import MOST_PIXELS, BadFilm, Fault, Gray

Contrast = Literal["displayed", "stored"]
Keep = Literal["secondary_capture", "for_processing", "dates_out_of_order"]

# What may leave a file, each with the column of the table that it becomes. No name, number, date or free text.
ALLOWED_TAGS = {
    "Modality": "modality",
    "ViewPosition": "view_position",
    "PatientSex": "sex",
    "PatientAge": "age",
    "PatientOrientation": "patient_orientation",
    "PhotometricInterpretation": "photometric_interpretation",
    "BitsStored": "bits_stored",
    "BodyPartExamined": "body_part",
    "BurnedInAnnotation": "burned_in_annotation",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model",
    "DetectorType": "detector_type",
    "KVP": "kvp",
    "ExposureInuAs": "exposure_uas",
    "Exposure": "exposure_mas",
    "ExposureTime": "exposure_time_ms",
    "DistanceSourceToDetector": "source_detector_mm",
    "Grid": "grid",
    "LossyImageCompression": "lossy",
}
# What is read to choose and to order films, and stays here.
_SELECTING_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "ImageType", "StudyDate",
    "StudyTime", "AcquisitionDate", "AcquisitionTime", "StudyDescription", "SeriesDescription", "InstanceNumber",
    "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "ReferencedImageSequence", "SourceImageSequence",
)  # fmt: skip
_EXTRA = "prognobench[dicom]"
_GPL_EXTRA = "prognobench[dicom-gpl]"
_DIRECTORY = "1.2.840.10008.1.3.10"
_DEFLATED = "Deflated Explicit VR Little Endian"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_FOR_PROCESSING = ("1.2.840.10008.5.1.4.1.1.1.1.1",)
# JPEG 2000 has decoders of several makers; this one is always the same.
_PREFERRED = {"1.2.840.10008.1.2.4.90": "pylibjpeg", "1.2.840.10008.1.2.4.91": "pylibjpeg"}
_PIXELS = b"\xe0\x7f\x10\x00"  # the tag of the pixel data, little-endian
# A file whose preamble is cut off begins with the group of its own header, or with the first one of the image.
_BEGINNINGS = (b"\2\0", b"\x08\0")
_HEAD = 65_536  # bytes in which a file says how it is written
_UNDATED = "99999999"
_COPY = "Copy the file again from its source"
_WINDOW = "Correct the window or the lookup table of the file"


class BadContrast(BadFilm):
    """The stored values can be had, and not the contrast that they are to be shown with."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a DICOM file says, as texts; several values are joined by a backslash, as DICOM does.

    Parameters
    ----------
    source
        The file, relative to the raw folder, with `/` between folders.
    tags
        By keyword; a tag that is absent or empty is not there. A sequence that is there is `"yes"`.
    """

    source: str
    tags: Mapping[str, str]

    def __getitem__(self, keyword: str) -> str:
        return self.tags.get(keyword, "")

    @property
    def date(self) -> str:
        """The day the film was taken, `YYYYMMDD`: of the acquisition, else of the study."""
        return self["AcquisitionDate"] or self["StudyDate"]

    @property
    def order(self) -> tuple[str, str, int, str]:
        """What films of one patient are sorted by: day, time, number in the series, name; undated ones come last."""
        time = self["AcquisitionTime"] if self["AcquisitionDate"] else self["StudyTime"]
        number = self["InstanceNumber"]
        return self.date or _UNDATED, time, int(number) if number.lstrip("+-").isdigit() else 0, self.source


def require_pydicom() -> Any:
    """Return pydicom.

    Raises
    ------
    InputError
        It is not installed; the extra to install is named.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        what = "DICOM files are read by pydicom, which is not installed"
        raise InputError([Problem("pydicom", what, f"Run `pip install '{_EXTRA}'`")]) from None
    return pydicom


def is_dicom(path: Path) -> bool:
    """Tell whether a file has the mark of DICOM, the ending of its name, or begins as one whose preamble is cut off."""
    with path.open("rb") as stream:
        head = stream.read(132)
    return _is_marked(head) or path.suffix.lower() in (".dcm", ".dicom") or head[:2] in _BEGINNINGS


def _is_marked(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def read_header(root: Path, source: str) -> Header | Fault:
    """Read the header of one file, or say why that cannot be."""
    pydicom = require_pydicom()
    path = root / source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as stream:
                head = stream.read(_HEAD)
            if _is_deflated(head):
                return _unsupported(_DEFLATED)
            marked = _is_marked(head)
            wanted = [*_SELECTING_TAGS, *ALLOWED_TAGS, "SpecificCharacterSet"]
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted, force=not marked)
            tags = {element.keyword: _text(element) for element in dataset}
    except OSError as error:
        return Fault(f"the file cannot be read ({error.strerror or error})", "Check its permissions")
    except Exception as error:  # damaged bytes make nearly anything of a parser
        return Fault(f"this is no whole DICOM file ({_words(error)})", _COPY)
    if not tags.get("SOPClassUID") and not marked:
        return Fault("this is no whole DICOM file (the mark DICM is missing at its beginning)", _COPY)
    if not tags.get("SOPClassUID"):
        return Fault("the DICOM header ends before it says what the file is", _COPY)
    return Header(source, {keyword: text for keyword, text in tags.items() if text})


def passed_over(header: Header, modalities: Collection[str], keep: Collection[Keep]) -> Fault | None:
    """Say by name why a file is no film to be used, or return None.

    Parameters
    ----------
    header
        Of the file.
    modalities
        The kinds of image that are films, such as CR and DX.
    keep
        What is used although it is usually left out.
    """
    name = require_pydicom().uid.UID(header["SOPClassUID"]).name
    if header["SOPClassUID"] == _DIRECTORY:
        return Fault("a directory of other files (DICOMDIR)", "Nothing is to be done: the files are read themselves")
    if not header["Rows"] or not header["Columns"]:
        return Fault(f"no image: {name}", "Nothing is to be done")
    if header["NumberOfFrames"] not in ("", "1"):
        return Fault(f"multi-frame image ({header['NumberOfFrames']} frames): {name}", "Export the film alone")
    secondary = header["SOPClassUID"].startswith(_SECONDARY_CAPTURE)
    if secondary and "secondary_capture" not in keep:
        return Fault(f"secondary capture: {name}", "If these are your films, say keep=[secondary_capture]")
    if header["SOPClassUID"] in _FOR_PROCESSING and "for_processing" not in keep:
        return Fault(f"raw data of the detector: {name}", "If you have no other, say keep=[for_processing]")
    if header["Modality"] not in modalities and not secondary:
        told = f"modality {header['Modality'] or 'not told'}"
        return Fault(told, f"If these are your films, add it to modalities=[{', '.join(modalities)}]")
    return None if "dates_out_of_order" in keep else _date_fault(header)


def _date_fault(header: Header) -> Fault | None:
    remedy = "Correct the dates, or say keep=[dates_out_of_order]"
    for keyword in ("StudyDate", "AcquisitionDate"):
        if header[keyword] and parse_date(header[keyword]) is None:
            return Fault(f"the {keyword} is no date", remedy)
    taken, began = parse_date(header["AcquisitionDate"]), parse_date(header["StudyDate"])
    if taken is not None and began is not None and taken < began:
        return Fault("dates out of order: the film was taken before its study began", remedy)
    return None


def parse_date(text: str) -> dt.date | None:
    """Return a DICOM date, `YYYYMMDD`, or None."""
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:])) if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


_VIEWS = {"AP": "AP", "PA": "PA", "LL": "LATERAL", "RL": "LATERAL", "LAT": "LATERAL", "LATERAL": "LATERAL"}


def projection(header: Header) -> str:
    """Return `AP`, `PA` or `LATERAL`, or an empty text where the header does not tell.

    The ViewPosition counts; without it the words of the series' description, then of the study's, where they name one
    projection only.
    """
    if header["ViewPosition"]:
        return _VIEWS.get(header["ViewPosition"].upper(), header["ViewPosition"].upper())
    for keyword in ("SeriesDescription", "StudyDescription"):
        words = re.findall(r"[A-Z]+", header[keyword].upper())
        named = {_VIEWS[word] for word in words if word in _VIEWS and word not in ("LL", "RL")}
        if len(named) == 1:
            return named.pop()
    return ""


def age_in_years(text: str) -> str:
    """Return a DICOM age such as `045Y` or `006M` in years; another text stays as it is.

    Examples
    --------
    >>> age_in_years("045Y"), age_in_years("006M"), age_in_years("old")
    ('45', '0.5', 'old')
    """
    match = re.fullmatch(r"(\d{1,4})([YMWD])", text.upper())
    if match is None:
        return text
    years = int(match[1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[match[2]]
    return f"{years:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class DicomPixels:
    """The pixels of a radiograph.

    Parameters
    ----------
    gray
        Shape (rows, columns); the higher, the brighter.
    spacing
        Height and width of a pixel, in one unit or another; their ratio says whether pixels are square.
    largest
        The largest stored value.
    """

    gray: Gray
    spacing: tuple[float, float]
    largest: int


def decode_dicom(content: bytes, contrast: Contrast) -> DicomPixels:
    """Return the gray values of a radiograph.

    Parameters
    ----------
    content
        The bytes of a DICOM file of one gray frame.
    contrast
        `displayed`: modality LUT or rescale, then VOI LUT or window (the first, where there are several), as a viewer
        shows the film first. `stored`: the stored values. With either, MONOCHROME1 is turned over, so that a higher
        value is brighter, and padding is black.

    Raises
    ------
    BadFilm
        When the pixels cannot be had, with the reason.
    InputError
        pydicom is not installed.
    """
    pydicom = require_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(pydicom, content, contrast)
    except (BadFilm, MemoryError):
        raise
    except Exception as error:  # damaged bytes make nearly anything of a parser or a decoder
        raise BadFilm(f"the file is truncated or damaged ({_words(error)})", _COPY) from error


def _decode(pydicom: Any, content: bytes, contrast: Contrast) -> DicomPixels:
    if _is_deflated(content):
        raise BadFilm(*_told(_unsupported(_DEFLATED)))
    try:
        dataset = pydicom.dcmread(io.BytesIO(content), force=not _is_marked(content))
    except Exception as error:  # damaged bytes make nearly anything of a parser
        raise BadFilm(f"this is no whole DICOM file ({_words(error)})", _COPY) from error
    if not _is_marked(content):
        if not dataset.get("SOPClassUID"):
            raise BadFilm("this is no whole DICOM file (the mark DICM is missing at its beginning)", _COPY)
        _guess_syntax(pydicom, dataset)
    if not dataset.get("PixelData"):
        # pydicom drops the header with the pixels where these have no end.
        told = "the file is truncated: its pixel data have no end" if _PIXELS in content else None
        raise BadFilm(told or "the file has no pixel data", _COPY)
    _refuse_shape(dataset)
    _refuse_payload(pydicom, dataset)
    patterns = _patterns(pydicom, dataset)
    table, values = _shown(pydicom, dataset, contrast)
    _blacken_padding(dataset, table, values, patterns)
    largest = values[patterns].max() if _signed(dataset) else patterns.max()
    return DicomPixels(table[patterns], _spacing(dataset), int(largest))


def _guess_syntax(pydicom: Any, dataset: Any) -> None:
    """Note how a file without a header of its own is written, as its first elements were read; pixels have a length."""
    if dataset.file_meta.get("TransferSyntaxUID") is not None or "PixelData" not in dataset:
        return
    implicit, little = dataset.original_encoding
    if little and not dataset["PixelData"].is_undefined_length:
        uid = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = uid


def _is_deflated(content: bytes) -> bool:
    """Tell whether a file would be inflated to be read; its name stands in the header, which is not."""
    return re.search(rb"1\.2\.840\.10008\.1\.2\.1\.99(?![.\d])", content[:_HEAD]) is not None


def _text(element: Any) -> str:
    if element.VR == "SQ":
        return "yes" if element.value else ""
    value = element.value
    if value is None:
        return ""
    many = [value] if isinstance(value, str | bytes) or not isinstance(value, Iterable) else list(value)
    return "\\".join(str(one) for one in many).strip(" \0")


def _refuse_shape(dataset: Any) -> None:
    samples, bits, stored = (_number(dataset, key) for key in ("SamplesPerPixel", "BitsAllocated", "BitsStored"))
    rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
    if rows * columns > MOST_PIXELS:
        raise BadFilm(f"the image has {columns} × {rows} pixels, which is too many to be a film", "Export it smaller")
    if _number(dataset, "NumberOfFrames") > 1:
        raise BadFilm(f"multi-frame image ({_number(dataset, 'NumberOfFrames')} frames)", "Export the film alone")
    if rows < 1 or columns < 1:
        raise BadFilm("the header does not say how large the image is", _COPY)
    if samples != 1:
        raise BadFilm(f"the image is in color ({samples} samples a pixel), which no radiograph is", "Remove it")
    if bits not in (8, 16) or not 1 <= stored <= bits:
        raise BadFilm(f"the pixels have {stored} of {bits} bits; up to 16 are read", "Export it with 8 to 16 bits")
    if not stored <= _high_bit(dataset) + 1 <= bits:
        what = f"the highest bit of {stored} in {bits} cannot be number {_high_bit(dataset)}"
        raise BadFilm(what, "Correct the HighBit of its header")
    if dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise BadFilm(f"the pixels are {dataset.get('PhotometricInterpretation')}, not gray", "Export it in gray")


def _refuse_payload(pydicom: Any, dataset: Any) -> None:
    """Refuse what a decoder would fail on, wait for, or fill with gray."""
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None:
        raise BadFilm("the header does not say how the pixels are written (no transfer syntax)", _COPY)
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise BadFilm(*_told(_unsupported(syntax.name)))
    size = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    if not syntax.is_encapsulated:
        if len(dataset.PixelData) < size:
            raise BadFilm(f"the file is truncated: {len(dataset.PixelData)} of {size} bytes of pixels", _COPY)
        return
    if _high_bit(dataset) + 1 != dataset.BitsStored and syntax != pydicom.uid.RLELossless:
        # Whether an encoder of JPEG's family kept the free bits below the pixel is nowhere told (PS3.5, 8.2).
        what = f"compressed pixels whose highest bit is number {_high_bit(dataset)} of {dataset.BitsStored} bits"
        raise BadFilm(what, "Export it without compression")
    if not _decoders(pydicom, syntax):
        raise BadFilm(*_told(_unsupported(syntax.name)))
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1), b"")
    if len(frame) > 2 * size + 65_536:
        raise BadFilm(f"the file holds {len(frame)} compressed bytes for {size} bytes of pixels", _COPY)
    if syntax == pydicom.uid.RLELossless:
        return
    if b"\xff\xd9" not in frame[-16:]:  # how JPEG, JPEG-LS and JPEG 2000 end, before bytes that fill up
        raise BadFilm("the file is truncated: the end of the compressed pixels is missing", _COPY)
    inside = _codestream_size(frame)
    if inside != (dataset.Rows, dataset.Columns):
        height, width = inside
        what = f"the compressed image is of {width} × {height} pixels, the header says {dataset.Columns} × "
        raise BadFilm(f"{what}{dataset.Rows}", _COPY)


def _decoders(pydicom: Any, syntax: str) -> tuple[str, ...]:
    try:
        return tuple(pydicom.pixels.get_decoder(syntax).available_plugins)
    except NotImplementedError:  # pydicom's word for a transfer syntax that it does not know
        return ()


def _unsupported(syntax: str) -> Fault:
    what = f"no decoder for its transfer syntax is here: {syntax}"
    remedy = f"Run `pip install '{_EXTRA}'`, or '{_GPL_EXTRA}' for decoders under the GPL; else convert the file"
    return Fault(what, remedy)


def _told(fault: Fault) -> tuple[str, str]:
    return fault.what, fault.remedy


def _codestream_size(frame: bytes) -> tuple[int, int]:
    """Return height and width as the compressed image itself has them, which is what a decoder makes room for."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if start >= 0 and frame[:2] != b"\xff\xd8":  # JPEG 2000 (ISO 15444-1, A.5.1), bare or in a JP2 file
        width, height, left, top = struct.unpack_from(">4I", frame, start + 8)
        return height - top, width - left
    at = 2
    while at + 9 <= len(frame):  # JPEG (ISO 10918-1, B.2.2) and JPEG-LS
        if frame[at] != 0xFF:
            break
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">2H", frame, at + 5)
            return height, width
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    raise BadFilm("the pixels are truncated or damaged (no size in the compressed image)", _COPY)


def _patterns(pydicom: Any, dataset: Any) -> NDArray[np.uint16]:
    """Return the stored bits of each pixel as they are, without their sign: shape (rows, columns)."""
    syntax = dataset.file_meta.TransferSyntaxUID
    preferred = _PREFERRED.get(syntax, "")
    if preferred not in (_decoders(pydicom, syntax) if syntax.is_encapsulated else ()):
        preferred = ""
    stored, below = dataset.BitsStored, _high_bit(dataset) + 1 - dataset.BitsStored
    if below:  # pydicom takes the pixel's bits to be the lowest, so it is asked for all of them
        dataset.BitsStored = dataset.BitsAllocated
    array = pydicom.pixels.pixel_array(dataset, raw=True, decoding_plugin=preferred)
    dataset.BitsStored = stored
    if array.shape != (dataset.Rows, dataset.Columns):
        raise ValueError(f"decoded to the shape {array.shape}")
    bits: NDArray[np.uint16]
    bits = array.astype(np.uint16, copy=False) if array.dtype.kind == "u" else array.astype(np.int16).view(np.uint16)
    if below:  # left-justified, as old files are: the free bits lie below the pixel and are not part of it
        bits = bits >> np.uint16(below)
    if dataset.BitsStored < 16:
        bits = bits & np.uint16((1 << dataset.BitsStored) - 1)
    return bits


def _high_bit(dataset: Any) -> int:
    told = dataset.get("HighBit") is not None
    return _number(dataset, "HighBit") if told else _number(dataset, "BitsStored") - 1


def _signed(dataset: Any) -> bool:
    return _number(dataset, "PixelRepresentation") == 1


def _shown(pydicom: Any, dataset: Any, contrast: Contrast) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return, for each pattern of stored bits, the gray value to show and the stored value.

    There are 65,536 patterns at most, so pydicom's own functions are asked once for each and not once a pixel.
    """
    count = 1 << dataset.BitsStored
    values = np.arange(count, dtype=np.int32)
    if _signed(dataset):
        values[count // 2 :] -= count
    shown: NDArray[Any] = values
    if contrast == "displayed":
        for pair in (("WindowCenter", "WindowWidth"), ("RescaleSlope", "RescaleIntercept")):
            if any(dataset.get(keyword) in (None, "") for keyword in pair):
                for keyword in pair:
                    dataset.pop(keyword, None)
        try:
            shown = pydicom.pixels.apply_modality_lut(values, dataset)
            if dataset.get("VOILUTSequence"):
                if not {"LUTDescriptor", "LUTData"} <= set(dataset.VOILUTSequence[0].dir()):
                    raise ValueError("the VOI LUT is empty")  # pydicom would pass over it
                shown = np.rint(shown).astype(np.int64)  # the table is looked up by whole numbers
            shown = pydicom.pixels.apply_voi_lut(shown, dataset)
        except Exception as error:  # a damaged table makes nearly anything of pydicom
            raise BadContrast(f"its window or lookup table cannot be used ({_words(error)})", _WINDOW) from error
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = shown.max() + shown.min() - shown.astype(np.float64)
    table = shown.astype(np.float32)
    if not np.isfinite(table).all():
        raise BadContrast("its rescale or window gives no finite values", _WINDOW)
    return table, values


def _blacken_padding(
    dataset: Any, table: NDArray[np.float32], values: NDArray[np.int32], patterns: NDArray[np.uint16]
) -> None:
    """Give what lies outside of the film the darkest gray of the film."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return
    last = dataset.get("PixelPaddingRangeLimit")
    last = first if last is None else last
    padded = (values >= min(first, last)) & (values <= max(first, last))
    there = np.bincount(patterns.ravel(), minlength=len(values)) > 0
    if (there & ~padded).any():
        table[padded] = table[there & ~padded].min()


def _spacing(dataset: Any) -> tuple[float, float]:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, str) and len(value) == 2 and min(map(float, value)) > 0:
            return float(value[0]), float(value[1])
    return 1.0, 1.0


def _number(dataset: Any, keyword: str) -> int:
    value = dataset.get(keyword)
    try:
        return 0 if value is None else int(value)
    except (TypeError, ValueError):
        raise BadFilm(f"the header's {keyword} is no number", _COPY) from None


def _words(error: Exception) -> str:
    """Return an error's message in one line."""
    text = (os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "") or type(error).__name__
    first = " ".join(str(error).split())
    return first[:200] if first else text
