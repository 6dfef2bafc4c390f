"""Texts inside image files are told by the names of their tags; what they say goes nowhere."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from prognobench.cohorts import audit, load_cohort, make_phantom
from prognobench.cohorts._film_tags import text_tags
from prognobench.frame import home

SECRET = "INVENTED^NAME"
FILM = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 80), dtype=np.uint8))
XMP = f'<x:xmpmeta><rdf:Description xmlns:DICOM="x" DICOM:PatientName="{SECRET}"/></x:xmpmeta>'.encode()


def saved(kind: str, **settings) -> bytes:
    content = io.BytesIO()
    FILM.save(content, kind, **settings)
    return content.getvalue()


def png(keyword: str, value: str = SECRET, **settings) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(keyword, value, **settings)
    return saved("PNG", pnginfo=texts)


def exif(tag: int, value: str | bytes, inner: bool = False) -> Image.Exif:
    held = Image.Exif()
    (held.get_ifd(0x8769) if inner else held)[tag] = value
    return held


def tiff(tag: int, value: str | bytes) -> bytes:
    held = TiffImagePlugin.ImageFileDirectory_v2()
    held[tag] = value
    return saved("TIFF", tiffinfo=held)


def international(keyword: str, value: str, *, packed: bool = False) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(keyword, value, zip=packed)
    return saved("PNG", pnginfo=texts)


@pytest.mark.parametrize(
    ("content", "tags"),
    [
        (saved("PNG"), ()),
        (saved("JPEG"), ()),
        (saved("TIFF"), ()),
        (png("Author"), ("Author",)),
        (png("Comment", zip=True), ("Comment",)),
        (png(SECRET), ("a text of another name",)),
        (png("Software"), ()),
        (png("date:create", "2020-01-01"), ()),
        (png("Comment", "Created with GIMP"), ()),
        (png("Comment", " "), ()),
        (international("Title", SECRET), ("Title",)),
        (international("XML:com.adobe.xmp", XMP.decode()), ("XMP",)),
        (international("XML:com.adobe.xmp", "<x:xmpmeta/>"), ()),
        (international("XML:com.adobe.xmp", "<x:xmpmeta/>", packed=True), ("XMP",)),
        (saved("PNG", exif=exif(315, SECRET)), ("Artist",)),
        (saved("JPEG", exif=exif(270, SECRET)), ("ImageDescription",)),
        (saved("JPEG", exif=exif(37510, b"ASCII\0\0\0" + SECRET.encode(), inner=True)), ("UserComment",)),
        (saved("JPEG", exif=exif(37510, b"ASCII\0\0\0   \0", inner=True)), ()),
        (saved("JPEG", exif=exif(40093, SECRET.encode("utf-16-le"))), ("XPAuthor",)),
        (saved("JPEG", exif=exif(305, "a program")), ()),
        (saved("JPEG", exif=b"Exif\0\0damaged"), ("EXIF that cannot be read",)),
        (saved("JPEG", comment=SECRET), ("JPEG comment",)),
        (saved("JPEG", comment="LEAD Technologies Inc. V1.01"), ()),
        (saved("JPEG", xmp=XMP), ("XMP",)),
        (tiff(270, SECRET), ("ImageDescription",)),
        (tiff(315, SECRET), ("Artist",)),
        (tiff(700, XMP), ("XMP",)),
        (tiff(270, '{"shape": [70, 80]}'), ()),
    ],
)
def test_each_kind_of_text_is_told_by_its_name(content: bytes, tags: tuple[str, ...]) -> None:
    assert text_tags(content) == tags


def test_a_chunk_behind_the_pixels_is_seen() -> None:
    content, body = saved("PNG"), b"tEXtAuthor\0" + SECRET.encode()
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    assert text_tags(content[:-12] + chunk + content[-12:]) == ("Author",)


def test_the_audit_counts_them_and_says_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    path = make_phantom(tmp_path / "cohort", 12, 0, size=96)
    images = load_cohort(path).films["image"].tolist()
    rows = {}
    for place, keyword in ((2, "Author"), (4, "Author"), (5, SECRET)):
        texts = PngImagePlugin.PngInfo()
        texts.add_text(keyword, SECRET)
        film = path.parent / "images" / images[place]
        Image.open(film).save(film, pnginfo=texts)
        rows[place + 2] = keyword
    for _ in range(2):  # the second time from what is known of the films
        cohort = load_cohort(path)
        (found,) = [one for one in audit(cohort).findings if one.check == "identifier"]
        assert found.rows == tuple(rows)
        assert "the files of 3 films" in found.what
        assert "Author (2), a text of another name (1)" in found.what
        assert found.numbers == {"films": 3, "Author": 2, "a text of another name": 1}
        assert SECRET not in json.dumps(audit(cohort).to_json())
    assert not [place for place in home().rglob("*.json") if SECRET in place.read_text()]
