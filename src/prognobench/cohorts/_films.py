"""From an image cell to the gray values of a whole film, or to the reason why there are none."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from prognobench.frame import InputError

Made = TypeVar("Made")
Gray = NDArray[np.float32]

# Pillow warns from here on and refuses at twice as many; a film of more pixels is no film.
MOST_PIXELS = 89_478_485
_MOST_BYTES = 256 << 20  # of a file; the largest film has 180 MB, not compressed
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601-7, section 2.5.1
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_FORMATS = ["PNG", "JPEG", "TIFF"]
# The tags of TIFF 6.0 that say where its pixels lie: strips or tiles, each with an offset and a length.
_TIFF_EXTENTS = ((273, 279), (324, 325))
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 258, 262, 0
_OTHER_FORMATS = (
    (128, b"DICM", "DICOM"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
)


@dataclass(frozen=True)
class Fault:
    """Why an image cannot be used and what to do; `forbidden` ones are never merely left out."""

    what: str
    remedy: str
    forbidden: bool = False


class BadFilm(Exception):
    """Carries the fault of a film out of its decoder."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.fault = Fault(what, remedy)


def film_or_fault(make: Callable[[], Made]) -> Made | Fault:
    """Return what is made of one film, or why it cannot be: no film ends the work on all others."""
    try:
        return make()
    except BadFilm as bad:
        return bad.fault
    except InputError:  # what is missing for one film, such as pydicom, is missing for all
        raise
    except OSError as error:
        return Fault(f"the file cannot be read ({_words(error)})", "Check the file and its permissions")
    except Exception as error:  # what nobody has foreseen
        return Fault(f"the film cannot be used ({type(error).__name__})", "Export it again from its source")


def read_film(path: Path) -> bytes:
    """Return the bytes of a film's file.

    Raises
    ------
    BadFilm
        There are so many that it is no film.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise BadFilm(f"the file has {size} bytes, which is no film", "Export the film alone")
    return path.read_bytes()


def locate(root: Path, cell: str) -> Path | Fault:
    """Return the file that an image cell names, or the fault of the cell; nothing is opened.

    Parameters
    ----------
    root
        The image root, resolved.
    cell
        A path relative to it, with `/` between folders.
    """
    inside = "Give a path inside the image root, with / between folders"
    if "\\" in cell:
        return Fault("the path holds a backslash", inside, forbidden=True)
    if PurePosixPath(cell).is_absolute() or PureWindowsPath(cell).drive:
        return Fault("the path is absolute", inside, forbidden=True)
    if ".." in PurePosixPath(cell).parts:
        return Fault("the path leaves its folder through '..'", inside, forbidden=True)
    try:
        path = (root / cell).resolve()
        if not path.is_relative_to(root):
            copy = "Copy the file into the image root; nothing outside it is read"
            return Fault("a symbolic link leads out of the image root", copy, forbidden=True)
        if path.is_file():
            return path
        if path.exists():
            return Fault("this is not a file", "Give the name of an image file")
    except RuntimeError:  # Python before 3.13 says so of links in a circle, with their names, which none may learn
        return Fault("its links go in a circle", "Check the name and the links on its way")
    except OSError as error:
        return Fault(f"the path cannot be followed ({_words(error)})", "Check the name and the links on its way")
    return Fault("the file is not there", "Check the name's spelling and the folder that it starts from")


def decode(content: bytes) -> Gray:
    """Return the gray values of a film, upright, at full resolution: float32 of shape (height, width).

    Gray of 1 to 16 bits stays as it is; color of 8 or 16 bits becomes ITU-R BT.601 luminance; palettes are resolved.

    Raises
    ------
    BadFilm
        When the bytes are no whole PNG, JPEG or TIFF, a pixel is transparent, or the film has one gray value only.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so truncated films would pass; unset it")
    try:
        gray = _gray(content)
    except (BadFilm, MemoryError):
        raise
    except Exception as error:  # a decoder fed with damaged bytes raises nearly anything
        raise BadFilm(f"the image is truncated or damaged ({_words(error)})", _AGAIN) from error
    if gray.min() == gray.max():
        raise BadFilm("the film has one gray value only", "Export it again from its source")
    return gray


_AGAIN = "Copy or export the file again"
_CONVERT = "Convert it to PNG, JPEG or TIFF, 8- or 16-bit gray or RGB"
_FROM_DICOM = "Make a cohort of the DICOM files with `prognobench cohort build dicom`"


def _gray(content: bytes) -> Gray:
    source = _open(content)
    raw = _raw_mode(source)
    if raw == "LA;16B":
        raise BadFilm("the image is 16-bit gray with an alpha channel", "Save it without alpha channel")
    if raw in ("RGB;16B", "RGBA;16B"):
        return _luminance(*_deep_color(content))
    if source.format == "TIFF" and _has_deep_channels(source):
        raise BadFilm("the image is a TIFF of several 16-bit channels", "Save it as PNG, or in gray")
    white_is_zero = source.format == "TIFF" and _white_is_zero(source)
    source.load()
    image = ImageOps.exif_transpose(source)
    if image.mode == "P" or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA")
    values = np.asarray(image)
    if image.mode in ("RGB", "RGBA"):
        return _luminance(values.astype(np.float32), opaque=255)
    if image.mode == "LA":
        _refuse_transparent(values[..., 1], opaque=255)
        return values[..., 0].astype(np.float32)
    if image.mode in ("1", "L", "I", "I;16", "I;16B"):
        if "transparency" in image.info:
            _refuse_transparent(values != image.info["transparency"], opaque=True)
        gray = values.astype(np.float32)
        return np.float32(65535) - gray if white_is_zero else gray
    raise BadFilm(f"the image has colors of kind {image.mode}", _CONVERT)


def _open(content: bytes) -> ImageFile.ImageFile:
    if not content:
        raise BadFilm("the file is empty", _AGAIN)
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        kinds = [name for offset, magic, name in _OTHER_FORMATS if content[offset : offset + len(magic)] == magic]
        kind = f"a {kinds[0]} file" if kinds else "no whole image"
        remedy = _FROM_DICOM if "DICOM" in kinds else _CONVERT
        raise BadFilm(f"this is {kind}; PNG, JPEG and TIFF are read", remedy) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadFilm("the image has too many pixels to be a film", "Export it at a smaller size") from None
    if image.width * image.height > MOST_PIXELS:
        what = f"the image has {image.width} × {image.height} pixels, which is too many to be a film"
        raise BadFilm(what, "Export it at a smaller size")
    if getattr(image, "n_frames", 1) > 1:
        raise BadFilm("the file holds several images", "Save the film alone")
    if image.format == "PNG":
        # Decoding stops when it has its pixels; only this reads on and checks every sum.
        Image.open(io.BytesIO(content), formats=["PNG"]).verify()
    if not _has_end(image, content):
        raise BadFilm("the image is truncated: its end is missing", _AGAIN)
    return image


def _has_end(image: ImageFile.ImageFile, content: bytes) -> bool:
    if image.format == "PNG":
        return _PNG_END in content
    if image.format == "TIFF":
        return max(_pixels_end(image), _directory_end(content)) <= len(content)
    return content.find(b"\xff\xd9", _scan_start(content)) >= 0


def _directory_end(tiff: bytes) -> int:
    """Return where the list of tags of a TIFF ends, of which a reader takes what is there."""
    order = "<" if tiff[:2] == b"II" else ">"
    large = 43 in tiff[2:4]  # BigTIFF
    pointer, count, entry, start = ("Q", "Q", 20, 8) if large else ("I", "H", 12, 4)
    try:
        (at,) = struct.unpack_from(order + pointer, tiff, start)
        (entries,) = struct.unpack_from(order + count, tiff, at)
    except struct.error:
        return len(tiff) + 1
    return int(at + struct.calcsize(order + count) + entry * entries + struct.calcsize(order + pointer))


def _pixels_end(image: Any) -> int:
    """Return where the last strip or tile of a TIFF ends; a reader may take what is missing for black."""
    tags = image.tag_v2
    for offsets, lengths in _TIFF_EXTENTS:
        if offsets in tags and lengths in tags:
            return max(int(start) + int(length) for start, length in zip(tags[offsets], tags[lengths], strict=True))
    raise BadFilm("the image is truncated: it does not say where its pixels are", _AGAIN)


def _has_deep_channels(image: Any) -> bool:
    """Tell a TIFF of which Pillow would keep the high bytes alone."""
    bits = image.tag_v2.get(_TIFF_BITS, (1,))
    return len(bits) > 1 and max(bits) > 8


def _white_is_zero(image: Any) -> bool:
    """Tell a 16-bit TIFF whose 0 is white, which Pillow leaves as it is; it turns those of 8 bits over itself."""
    return bool(image.mode.startswith("I;16") and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO)


def _scan_start(jpeg: bytes) -> int:
    """Return where the pixels of a JPEG begin, past the segments whose thumbnails have an end of their own."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at : at + 2] != b"\xff\xda":
        fill = jpeg[at + 1] == 0xFF  # any number of these may stand before a marker
        at += 1 if fill else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return at


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments: Any = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _deep_color(content: bytes) -> tuple[Gray, int]:
    """Read 16-bit color, of which Pillow keeps the high bytes: a second pass asks it for the low ones.

    PNG stores the high byte first; told that the low byte comes first, Pillow keeps the other half.
    """
    halves = []
    for order in ("16B", "16L"):
        image = Image.open(io.BytesIO(content), formats=["PNG"])
        if "transparency" in image.info:
            raise BadFilm("the image is 16-bit color with a transparent color", "Save it without transparency")
        raw = _raw_mode(image).replace("16B", order)
        image.tile = [tile._replace(args=raw) for tile in image.tile]
        image.load()
        halves.append(np.asarray(ImageOps.exif_transpose(image)).astype(np.float32))
    return halves[0] * np.float32(256) + halves[1], 65535


def _luminance(values: Gray, opaque: int) -> Gray:
    """Return gray for color of shape (height, width, 3), or 4 with alpha, of which `opaque` is the most."""
    if values.shape[2] == 4:
        _refuse_transparent(values[..., 3], opaque)
    red, green, blue = (values[..., channel] * np.float32(_LUMINANCE[channel]) for channel in range(3))
    gray: Gray = red + green + blue
    return gray


def _refuse_transparent(alpha: NDArray[Any], opaque: int) -> None:
    if not bool((alpha == opaque).all()):
        raise BadFilm("the image has transparent pixels", "Save it without transparency (alpha channel)")


def _words(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return " ".join(text.split())
