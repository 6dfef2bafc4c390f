"""DICOM: the gray values are those that pydicom's own functions give, and what cannot be read is named."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from prognobench.cohorts._dicom import decode_dicom, passed_over, read_header
from prognobench.cohorts._films import BadFilm, Fault
from prognobench.cohorts._phantom_layouts._objects import compress, film_object, save_object

RNG = np.random.default_rng(0)
U8 = RNG.integers(0, 256, (48, 36), dtype=np.uint8)
U12 = RNG.integers(0, 4096, (48, 36), dtype=np.uint16)
U16 = RNG.integers(0, 65536, (48, 36), dtype=np.uint16)
S12 = (U12.astype(np.int32) - 2048).astype(np.int16)
S16 = U16.view(np.int16)


def content(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def film(levels: np.ndarray, **tags: object) -> Dataset:
    return film_object(levels, ("P1", "study", "series", "image"), **tags)


def lut(first: int, entries: np.ndarray, bits: int = 16, vr: str = "US") -> Dataset:
    item = Dataset()
    # The first mapped value has the sign of the pixels: VR US or SS, which is told by the order of these.
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", vr, entries.tolist() if vr == "US" else entries.astype("<u2").tobytes())
    return item


CURVE = np.linspace(0, 65535, 1024).astype(int) ** 2 // 65535
RESCALED = {"RescaleSlope": "1.25", "RescaleIntercept": "-100.5", "RescaleType": "US"}
PIXELS = {"8 bit": U8, "12 of 16 bit": U12, "16 bit": U16, "12 of 16 bit, signed": S12, "16 bit, signed": S16}
SHOWN = {
    "as stored": {},
    "rescale": RESCALED,
    "window": {"WindowCenter": 100, "WindowWidth": 80},
    "windows": {"WindowCenter": [100, 500], "WindowWidth": [80, 20]},
    "exact window": {"WindowCenter": 100, "WindowWidth": 80, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid window": {"WindowCenter": 100, "WindowWidth": 80, "VOILUTFunction": "SIGMOID"},
    "rescale and window": {**RESCALED, "WindowCenter": 30.5, "WindowWidth": 90},
    "modality LUT": {"ModalityLUTSequence": [lut(10, CURVE)]},
    "VOI LUT": {"VOILUTSequence": [lut(10, CURVE)]},
    "VOI LUT in bytes": {"VOILUTSequence": [lut(10, CURVE, vr="OW")]},
    "VOI LUT and window": {"VOILUTSequence": [lut(0, CURVE)], "WindowCenter": 100, "WindowWidth": 80},
    "modality LUT and window": {"ModalityLUTSequence": [lut(0, CURVE)], "WindowCenter": 9000, "WindowWidth": 8000},
}


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("pixels", PIXELS)
def test_a_film_is_shown_as_pydicom_shows_it(pixels: str, shown: str, kind: str) -> None:
    dataset = film(PIXELS[pixels], PhotometricInterpretation=kind, **SHOWN[shown])
    found = decode_dicom(content(dataset), "displayed").gray
    read = pydicom.dcmread(io.BytesIO(content(dataset)))
    expected = apply_voi_lut(apply_modality_lut(read.pixel_array, read), read).astype(float)
    if kind == "MONOCHROME1":
        expected = -expected
    # Only differences count: what a film is scaled by comes after.
    np.testing.assert_allclose(
        found - found.min(), expected - expected.min(), rtol=1e-5, atol=2e-6 * np.ptp(expected) + 1e-9
    )


def test_a_voi_lut_behind_a_rescale_is_looked_up_by_whole_numbers() -> None:
    """pydicom refuses to index a table by the fractions that a rescale gives, so it is asked with whole numbers."""
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-50", "RescaleType": "US"}
    dataset = film(U8, **tags, VOILUTSequence=[lut(0, CURVE)])
    expected = apply_voi_lut(2 * U8.astype(int) - 50, dataset)
    np.testing.assert_array_equal(decode_dicom(content(dataset), "displayed").gray, expected)


@pytest.mark.parametrize("pixels", PIXELS)
def test_stored_values_ignore_rescale_and_window(pixels: str) -> None:
    values = PIXELS[pixels]
    decoded = decode_dicom(content(film(values, **RESCALED, WindowCenter=9, WindowWidth=5)), "stored")
    np.testing.assert_array_equal(decoded.gray, values)
    assert decoded.largest == values.max()


def test_bits_beyond_those_stored_are_not_part_of_the_pixel() -> None:
    dataset = film(U12 | np.uint16(0xA000), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decode_dicom(content(dataset), "stored").gray, U12)


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "RLELossless"])
@pytest.mark.parametrize("pixels", ["12 of 16 bit", "12 of 16 bit, signed"])
def test_left_justified_pixels_are_moved_to_the_right(pixels: str, syntax: str) -> None:
    values = PIXELS[pixels]
    moved = ((values.view(np.uint16) << 4) | np.uint16(9)).view(values.dtype)
    dataset = compress(film(moved), syntax)
    assert (dataset.BitsStored, dataset.HighBit) == (16, 15)
    dataset.BitsStored = 12
    np.testing.assert_array_equal(decode_dicom(content(dataset), "stored").gray, values)


def test_padding_is_as_dark_as_the_darkest_of_the_film() -> None:
    values = U12.clip(100, 4000)
    values[:5], values[-5:] = 0, 3
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        tags = {"PhotometricInterpretation": kind, "PixelPaddingRangeLimit": 3}
        dataset = film(values, **tags)
        dataset.add_new("PixelPaddingValue", "US", 0)
        gray = decode_dicom(content(dataset), "stored").gray
        assert gray[:5].max() == gray[-5:].max() == gray[5:-5].min() == gray.min(), kind


def test_the_shape_of_a_pixel_is_told() -> None:
    assert decode_dicom(content(film(U8, PixelSpacing=[0.2, 0.1])), "stored").spacing == (0.2, 0.1)
    other = {"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.3]}
    assert decode_dicom(content(film(U8, **other)), "stored").spacing == (0.1, 0.3)
    assert decode_dicom(content(film(U8, PixelSpacing=None, PixelAspectRatio=[2, 1])), "stored").spacing == (2, 1)
    assert decode_dicom(content(film(U8, PixelSpacing=None)), "stored").spacing == (1, 1)


def jpeg_lossless(dataset: Dataset, tmp_path) -> bytes:
    import gdcm

    save_object(dataset, tmp_path / "raw.dcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(tmp_path / "raw.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    assert writer.Write()
    return (tmp_path / "lossless.dcm").read_bytes()


LOSSLESS = ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "RLELossless", "JPEGLSLossless", "JPEG2000Lossless"]


# The encoder that the test has for lossless JPEG writes no signed pixels.
WRITTEN = [(syntax, pixels) for syntax in LOSSLESS for pixels in PIXELS]
WRITTEN += [("JPEGLosslessSV1", pixels) for pixels in PIXELS if PIXELS[pixels].dtype.kind == "u"]


@pytest.mark.parametrize(("syntax", "pixels"), WRITTEN)
def test_no_lossless_syntax_changes_a_value(syntax: str, pixels: str, tmp_path) -> None:
    values = PIXELS[pixels]
    lossless_jpeg = syntax == "JPEGLosslessSV1"
    data = jpeg_lossless(film(values), tmp_path) if lossless_jpeg else content(compress(film(values), syntax))
    assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID == getattr(pydicom.uid, syntax)
    np.testing.assert_array_equal(decode_dicom(data, "stored").gray, values)


def test_a_baseline_jpeg_is_close() -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    data = content(compress(film(smooth), "JPEGBaseline8Bit"))
    assert np.abs(decode_dicom(data, "stored").gray - smooth).max() < 8


def no_pixels() -> bytes:
    dataset = film(U8)
    del dataset.PixelData
    return content(dataset)


def swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def other_syntax(uid: str) -> bytes:
    dataset = compress(film(U12), "JPEGLSLossless")
    dataset.file_meta.TransferSyntaxUID = uid
    return content(dataset)


J2K = content(compress(film(U12), "JPEG2000Lossless"))
JLS = content(compress(film(U12), "JPEGLSLossless"))
RAW = content(film(U12))
SIZE = struct.pack(">2I", 36, 48)
FAULTS = {
    "no DICOM": (b"what", "no whole DICOM file"),
    "empty": (b"", "no whole DICOM file"),
    "no pixel data": (no_pixels(), "has no pixel data"),
    "truncated": (RAW[:-100], "truncated: 3356 of 3456 bytes"),
    "truncated, compressed": (JLS[:-100], "truncated"),
    "end of the codestream missing": (swapped(J2K, b"\xff\xd9", b"\0\0"), "end of the compressed pixels is missing"),
    "video": (other_syntax("1.2.840.10008.1.2.4.100"), "no decoder for its transfer syntax is here: MPEG2"),
    "private syntax": (
        swapped(JLS, b"1.2.840.10008.1.2.4.80", b"1.2.840.113619.5.2.999"),
        "transfer syntax is here: 1.2.840.113619.5.2.999",
    ),
    "bomb in the header": (content(film(U8, Rows=60000, Columns=60000)), "60000 × 60000 pixels"),
    "bomb in the codestream": (swapped(J2K, SIZE, struct.pack(">2I", 60000, 60000)), "is of 60000 × 60000 pixels"),
    "color": (content(film(U8, SamplesPerPixel=3)), "in color"),
    "32 bits": (content(film(U8, BitsStored=33)), "33 of 8 bits"),
    "left-justified and compressed": (
        swapped(JLS, b"\x28\0\x02\x01US\x02\0\x0b", b"\x28\0\x02\x01US\x02\0\x0f"),
        "whose highest bit is number 15 of 12 bits",
    ),
    "highest bit too low": (content(film(U12, HighBit=7)), "cannot be number 7"),
    "highest bit too high": (content(film(U12, HighBit=16)), "cannot be number 16"),
    "rescale without end": (content(film(U12, RescaleSlope="1E38", RescaleIntercept="0")), "no finite values"),
    "rescale without end, turned over": (
        content(film(U12, RescaleSlope="1E38", RescaleIntercept="0", PhotometricInterpretation="MONOCHROME1")),
        "no finite values",
    ),
    "deflated": (
        swapped(RAW, b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99"),
        "transfer syntax is here: Deflated",
    ),
    "several frames": (content(film(U12, NumberOfFrames=3)), r"multi-frame image \(3 frames\)"),
    "palette": (content(film(U8, PhotometricInterpretation="PALETTE COLOR")), "PALETTE COLOR"),
    "window without width": (content(film(U8, WindowCenter=1, WindowWidth=0)), "window or lookup table"),
    "lookup table without data": (content(film(U8, VOILUTSequence=[Dataset()])), "window or lookup table"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_read_is_named_with_a_remedy(name: str) -> None:
    data, what = FAULTS[name]
    with pytest.raises(BadFilm, match=what) as caught:
        decode_dicom(data, "displayed")
    assert caught.value.fault.remedy
    if "transfer syntax" in what:
        assert "prognobench[dicom-gpl]" in caught.value.fault.remedy


BEGINNINGS = {"raw": RAW, "JPEG 2000": J2K, "JPEG-LS": JLS, "RLE": content(compress(film(U12), "RLELossless"))}


@pytest.mark.parametrize("data", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_no_beginning_of_a_file_is_a_film(data: bytes) -> None:
    for length in range(len(data) - 9, 0, -61):
        with pytest.raises(BadFilm):
            decode_dicom(data[:length], "displayed")


def test_damaged_headers_are_never_more_than_a_bad_film() -> None:
    """Wherever a byte of the header is wrong, the film is read or refused, and nothing else happens."""
    refused, rng = 0, np.random.default_rng(1)
    start = RAW.index(b"\xe0\x7f\x10\x00")
    for _ in range(300):
        damaged = bytearray(RAW)
        damaged[128 + int(rng.integers(start - 128))] ^= 1 << int(rng.integers(8))
        try:
            assert decode_dicom(bytes(damaged), "displayed").gray.ndim == 2
        except BadFilm:
            refused += 1
    assert 20 < refused < 280


def header(tmp_path, dataset: Dataset):
    save_object(dataset, tmp_path / "film.dcm")
    return read_header(tmp_path, "film.dcm")


PASSED_OVER = {
    "report": ({"SOPClassUID": pydicom.uid.BasicTextSRStorage, "Rows": None}, "no image: Basic Text SR"),
    "secondary capture": (
        {"SOPClassUID": pydicom.uid.SecondaryCaptureImageStorage, "Modality": "OT"},
        "secondary capture: Secondary Capture",
    ),
    "CT": ({"SOPClassUID": pydicom.uid.CTImageStorage, "Modality": "CT"}, "modality CT"),
    "no modality": ({"Modality": ""}, "modality not told"),
    "frames": ({"NumberOfFrames": 2}, r"multi-frame image \(2 frames\)"),
    "detector": (
        {"SOPClassUID": pydicom.uid.DigitalXRayImageStorageForProcessing},
        "raw data of the detector",
    ),
    "dates": ({"StudyDate": "20200302", "AcquisitionDate": "20200301"}, "dates out of order"),
    "no date": ({"StudyDate": "20201399"}, "StudyDate is no date"),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_no_film_is_left_out_by_name(tmp_path, name: str) -> None:
    tags, what = PASSED_OVER[name]
    levels = np.stack([U8, U8]).reshape(96, 36) if name == "frames" else U8
    dataset = film(levels, **tags)
    fault = passed_over(header(tmp_path, dataset), ("CR", "DX"), ())
    assert fault is not None
    assert re.search(what, fault.what)
    assert fault.remedy


def test_a_film_is_not_passed_over(tmp_path) -> None:
    found = header(tmp_path, film(U8, StudyDate="20200301", AcquisitionDate="20200301"))
    assert passed_over(found, ("CR", "DX"), ()) is None
    assert passed_over(header(tmp_path, film(U8, NumberOfFrames=1)), ("CR", "DX"), ()) is None


def test_no_name_and_no_text_of_a_patient_is_read(tmp_path) -> None:
    found = header(tmp_path, film(U8, PatientName="Doe^Jane", PatientBirthDate="19500101", OtherPatientIDs="77"))
    told = " ".join(found.tags.values())
    assert "Doe" not in told
    assert "1950" not in told
    assert {"PatientName", "PatientBirthDate", "OtherPatientIDs"}.isdisjoint(found.tags)


def test_a_deflated_header_is_not_inflated(tmp_path) -> None:
    dataset = film(U8)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    found = header(tmp_path, dataset)
    assert isinstance(found, Fault)
    assert "Deflated" in found.what
