"""Which image files are films, and what their gray values are."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from prognobench.cohorts._films import BadFilm, decode

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (9, 14), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (9, 14), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (9, 14, 3), dtype=np.uint16)
BT601 = np.array([0.299, 0.587, 0.114])


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def handmade_png(
    values: np.ndarray, depth: int, color_type: int, *extra: bytes, size: tuple[int, int] = (0, 0)
) -> bytes:
    """Write a PNG from its specification, with values that Pillow cannot write."""
    width, height = size if any(size) else (values.shape[1], values.shape[0])
    order = values.astype(">u2" if depth == 16 else "u1")
    lines = b"".join(b"\0" + row.tobytes() for row in order)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


def handmade_tiff(values: np.ndarray, photometric: int | None = None) -> bytes:
    """Write a little-endian TIFF of 16 bits from its specification (TIFF 6.0), with what Pillow cannot write."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    photometric = (2 if channels == 3 else 1) if photometric is None else photometric
    data = values.astype("<u2").tobytes()
    bits_at = 8 + len(data)
    bits = (258, 3, channels, 16 if channels == 1 else bits_at)
    tags = [(256, 4, 1, width), (257, 4, 1, height), bits, (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 8)]
    tags += [(277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data))]
    head = b"II*\0" + struct.pack("<I", bits_at + 8)
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0\0\0\0"
    return head + data + struct.pack("<4H", 16, 16, 16, 0) + directory


def with_alpha(values: np.ndarray, alpha: int) -> np.ndarray:
    values = values if values.ndim == 3 else values[..., None]
    return np.concatenate([values, np.full_like(values[..., :1], alpha)], axis=2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(saved(Image.fromarray(GRAY8)), GRAY8, id="8-bit gray"),
        pytest.param(saved(Image.fromarray(GRAY16)), GRAY16, id="16-bit gray"),
        pytest.param(saved(Image.fromarray(GRAY8 > 99)), GRAY8 > 99, id="1-bit gray"),
        pytest.param(saved(Image.fromarray(GRAY8), "TIFF"), GRAY8, id="8-bit TIFF"),
        pytest.param(saved(Image.fromarray(GRAY16), "TIFF"), GRAY16, id="16-bit TIFF"),
        pytest.param(saved(Image.fromarray(GRAY16), "TIFF", compression="tiff_lzw"), GRAY16, id="16-bit LZW TIFF"),
        pytest.param(saved(Image.fromarray(RGB8), "TIFF"), RGB8 @ BT601, id="RGB TIFF"),
        pytest.param(handmade_tiff(GRAY16), GRAY16, id="16-bit TIFF, 0 is black"),
        pytest.param(handmade_tiff(GRAY16, 0), 65535 - GRAY16.astype(int), id="16-bit TIFF, 0 is white"),
        pytest.param(saved(Image.fromarray(RGB8)), RGB8 @ BT601, id="RGB"),
        pytest.param(handmade_png(RGB16, 16, 2), RGB16 @ BT601, id="16-bit RGB keeps its low bytes"),
        pytest.param(saved(Image.fromarray(with_alpha(RGB8, 255))), RGB8 @ BT601, id="opaque RGBA"),
        pytest.param(handmade_png(with_alpha(RGB16, 65535), 16, 6), RGB16 @ BT601, id="opaque 16-bit RGBA"),
        pytest.param(saved(Image.fromarray(with_alpha(GRAY8, 255), "LA")), GRAY8, id="opaque gray with alpha"),
    ],
)
def test_gray_values_are_those_of_the_file(content: bytes, expected: np.ndarray) -> None:
    gray = decode(content)
    assert gray.dtype == np.float32
    np.testing.assert_allclose(gray, expected.astype(float), rtol=1e-6, atol=1e-6)


def test_a_palette_is_resolved() -> None:
    image = Image.fromarray(RGB8).quantize(16)
    expected = np.asarray(image.convert("RGB")) @ BT601
    np.testing.assert_allclose(decode(saved(image)), expected, rtol=1e-6)


@pytest.mark.parametrize("values", [GRAY8, RGB8], ids=["gray", "RGB"])
def test_a_jpeg_reads_as_pillow_reads_it(values: np.ndarray) -> None:
    content = saved(Image.fromarray(values), "JPEG", quality=95)
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(float)
    expected = pixels @ BT601 if pixels.ndim == 3 else pixels
    np.testing.assert_allclose(decode(content), expected, rtol=1e-6)


# What turns the stored image upright, from the table of the EXIF standard (tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("values", [GRAY8, GRAY16, RGB16], ids=["8-bit", "16-bit", "16-bit RGB"])
def test_exif_orientation_is_applied(orientation: int, values: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if values.ndim == 3:
        content = handmade_png(values, 16, 2, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
        values = values @ BT601
    else:
        content = saved(Image.fromarray(values), exif=exif)
        np.testing.assert_allclose(
            decode(saved(Image.fromarray(values), "TIFF", exif=exif)), UPRIGHT[orientation](values).astype(float)
        )
    np.testing.assert_allclose(decode(content), UPRIGHT[orientation](values).astype(float), rtol=1e-6)


NOISE = Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8))
PNG, JPEG = saved(NOISE), saved(NOISE, "JPEG")
FLIPPED = PNG[: len(PNG) // 2] + bytes([PNG[len(PNG) // 2] ^ 255]) + PNG[len(PNG) // 2 + 1 :]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"label,patient", "PNG, JPEG and TIFF are read", id="text"),
        pytest.param(b"\0" * 128 + b"DICM", "DICOM", id="DICOM"),
        pytest.param(saved(NOISE, "TIFF")[:-1], "truncated", id="TIFF without its last byte"),
        pytest.param(saved(NOISE, "TIFF", compression="tiff_lzw")[:2000], "truncated|no whole", id="half a TIFF"),
        pytest.param(saved(NOISE, "TIFF", save_all=True, append_images=[NOISE]), "several images", id="pages"),
        pytest.param(saved(Image.fromarray(GRAY8 / np.float32(255)), "TIFF"), "kind F", id="TIFF of fractions"),
        pytest.param(handmade_tiff(RGB16), "several 16-bit channels", id="16-bit color TIFF"),
        pytest.param(saved(NOISE, "GIF"), "GIF", id="GIF"),
        pytest.param(PNG[:-1], "truncated", id="PNG without its last byte"),
        pytest.param(PNG[:-12], "truncated", id="PNG without its end"),
        pytest.param(PNG[: len(PNG) // 2], "truncated", id="half a PNG"),
        pytest.param(FLIPPED, "damaged", id="PNG with a wrong byte"),
        pytest.param(JPEG[:-2], "truncated", id="JPEG without its end"),
        pytest.param(JPEG[: len(JPEG) // 2], "truncated", id="half a JPEG"),
        pytest.param(saved(Image.new("L", (8, 8), 7)), "one gray value", id="constant"),
        pytest.param(saved(Image.new("RGB", (8, 8), (9, 5, 1))), "one gray value", id="constant RGB"),
        pytest.param(saved(Image.fromarray(with_alpha(RGB8, 254))), "transparent", id="transparent RGBA"),
        pytest.param(handmade_png(with_alpha(RGB16, 65534), 16, 6), "transparent", id="transparent 16-bit RGBA"),
        pytest.param(handmade_png(with_alpha(GRAY16, 65535), 16, 4), "alpha channel", id="16-bit gray with alpha"),
        pytest.param(saved(NOISE, transparency=int(np.asarray(NOISE)[0, 0])), "transparent", id="transparent gray"),
        pytest.param(saved(Image.fromarray(GRAY16), transparency=int(GRAY16[0, 0])), "transparent", id="same, 16-bit"),
        pytest.param(saved(NOISE.convert("CMYK"), "JPEG"), "CMYK", id="CMYK"),
        pytest.param(saved(NOISE, save_all=True, append_images=[NOISE.rotate(90)]), "several images", id="animated"),
        pytest.param(handmade_png(GRAY8, 8, 0, size=(10000, 10000)), "pixels", id="bomb"),
        pytest.param(handmade_png(GRAY8, 8, 0, size=(40000, 40000)), "pixels", id="large bomb"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_whole_film_is_refused_with_a_reason_and_a_remedy(content: bytes, what: str) -> None:
    with pytest.raises(BadFilm, match=what) as caught:
        decode(content)
    assert caught.value.fault.remedy
    assert not caught.value.fault.forbidden


@pytest.mark.parametrize("progressive", [False, True])
def test_the_end_of_a_thumbnail_is_not_the_end_of_the_film(progressive: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = b"\xff\xd8 a thumbnail \xff\xd9"
    content = saved(NOISE, "JPEG", exif=exif, progressive=progressive)
    assert content.count(b"\xff\xd9") == 2
    assert decode(content + b"what a scanner adds").shape == (64, 64)
    for cut in range(1, 40):
        with pytest.raises(BadFilm, match="truncated"):
            decode(content[:-cut])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "content",
    [PNG, JPEG, saved(NOISE, "TIFF"), saved(NOISE, "TIFF", compression="tiff_lzw")],
    ids=["PNG", "JPEG", "TIFF", "TIFF with LZW"],
)
def test_no_beginning_of_a_film_is_a_film(content: bytes) -> None:
    for length in range(len(content) - 1, 0, -97):
        with pytest.raises(BadFilm):
            decode(content[:length])


def test_the_switch_that_lets_truncated_films_pass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        decode(PNG)
