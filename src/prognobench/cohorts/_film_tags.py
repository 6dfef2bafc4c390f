"""Texts that an image file carries beside its pixels, and that may say whose film it is; only their names are told."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image

# Free texts of TIFF 6.0, of Windows, and of Exif 2.32; BodySerialNumber is the device's, which HIPAA counts.
_FIRST = {269: "DocumentName", 270: "ImageDescription", 285: "PageName", 315: "Artist", 33432: "Copyright",
          40091: "XPTitle", 40092: "XPComment", 40093: "XPAuthor", 40094: "XPKeywords",
          40095: "XPSubject"}  # fmt: skip
_EXIF = {37510: "UserComment", 42032: "CameraOwnerName", 42033: "BodySerialNumber"}
_EXIF_AT, _GPS_AT, _XMP, _IPTC, _IPTC_OF_PHOTOSHOP = 0x8769, 0x8825, 700, 33723, 0x0404
# Keywords of the PNG specification, section 11.3.3.2; another one may itself be a name, so it is not told.
_KEYWORDS = {"Title", "Author", "Description", "Copyright", "Disclaimer", "Warning", "Source", "Comment"}
_OTHER = "a text of another name"
_NO_TEXT = re.compile(r"Software|Creation Time|date:\w+|Raw profile type icc|ICC Profile", re.IGNORECASE)
_XMP_KEYWORD = "XML:com.adobe.xmp"
_XMP_TEXT = re.compile(
    rb"\b(?:dc:(?:creator|title|description|subject|rights)|DICOM:\w|\w+:(?:UserComment|Artist|ImageDescription|Author|"
    rb"AuthorsPosition|CaptionWriter|Headline|Instructions))"
)
SYNTHETIC_NOTICE = "synthetic film made by prognobench"  # in the files of the phantom
# What programs write into every file, which says nothing of the film.
_PROGRAM = re.compile(
    r"LEAD Technologies Inc\. V[\d.]+|CREATOR: gd-jpeg v[\d.]+ \(using IJG JPEG v\d+\)(?:, (?:default )?quality"
    r"(?: = \d+)?)?|Created with (?:The )?GIMP|AppleMark|Lavc[\d.]+|Intel\(R\) JPEG Library, version [\[\]\d., ]+|"
    r"\{\"shape\": \[[\d, ]+\](?:, \"axes\": \"\w+\")?\}|Screenshot|" + SYNTHETIC_NOTICE
)
_CHARACTER_SETS = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0")


def text_tags(content: bytes) -> tuple[str, ...]:
    """Return the names of the tags of an image that hold a text which may be of a person.

    Parameters
    ----------
    content
        A whole PNG, JPEG or TIFF.

    Returns
    -------
    tuple of str
        Sorted; no value, and no name that the file gives itself.

    Notes
    -----
    Pixels are not decoded, and nothing that is compressed is unpacked: that it is there is told.
    """
    return tuple(sorted({*(_of_png(content) if content.startswith(b"\x89PNG") else _of_others(content))}))


def _of_png(content: bytes) -> Iterator[str]:
    at = 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        at += 12 + length
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield from _of_a_chunk(kind, body)
        elif kind == b"eXIf":
            yield from _of_exif(body)


def _of_a_chunk(kind: bytes, body: bytes) -> Iterator[str]:
    name, _, text = body.partition(b"\0")
    keyword = name.decode("latin-1")
    if _NO_TEXT.fullmatch(keyword) or (kind == b"tEXt" and not _tells(text)):
        return
    if keyword == _XMP_KEYWORD:
        packed = text[:1] != b"\0"
        yield from ["XMP"] if packed or _XMP_TEXT.search(text) else []
    elif keyword.lower().startswith("raw profile type "):
        yield "Raw profile"
    else:
        yield keyword if keyword in _KEYWORDS else _OTHER


def _of_others(content: bytes) -> Iterator[str]:
    image = Image.open(io.BytesIO(content), formats=["JPEG", "TIFF"])
    if _tells(image.info.get("comment", b"")):
        yield "JPEG comment"
    yield from _of_xmp(image.info.get("xmp", b""))
    photoshop = image.info.get("photoshop")
    if isinstance(photoshop, dict) and photoshop.get(_IPTC_OF_PHOTOSHOP):
        yield "IPTC"
    # What JPEG holds is read here and not by `getexif`, which takes a damaged one for none.
    yield from _of_exif(image.info["exif"] if image.format == "JPEG" and image.info.get("exif") else image)


def _of_exif(source: Image.Image | bytes) -> Iterator[str]:
    """Yield what EXIF holds; a damaged one may hold anything."""
    try:
        if isinstance(source, bytes):
            exif = Image.Exif()
            exif.load(source)
        else:
            exif = source.getexif()
        found = [name for tag, name in _FIRST.items() if _tells(exif.get(tag))]
        inner = exif.get_ifd(_EXIF_AT)
        found += [name for tag, name in _EXIF.items() if _tells(inner.get(tag))]
        found += ["GPS"] if exif.get_ifd(_GPS_AT) else []
        found += [*_of_xmp(exif.get(_XMP, b"")), *(["IPTC"] if exif.get(_IPTC) else [])]
    except Exception:  # a reader fed with damaged bytes raises nearly anything
        found = ["EXIF that cannot be read"]
    yield from found


def _of_xmp(packet: Any) -> Iterator[str]:
    written = packet.encode() if isinstance(packet, str) else bytes(packet or b"")
    if _XMP_TEXT.search(written):
        yield "XMP"


def _tells(value: Any) -> bool:
    """Tell whether a value is a text that no program writes by itself."""
    if value is None:
        return False
    if isinstance(value, bytes):
        for characters in _CHARACTER_SETS:
            value = value.removeprefix(characters)
        value = value.replace(b"\0", b"").decode("latin-1")
    text = str(value).strip("\0 \t\r\n")
    return bool(text) and _PROGRAM.fullmatch(text) is None
