"""Films outside of a study go through the code of those inside."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prognobench.cohorts import (
    BadFilm,
    Fault,
    FilmRecipe,
    FilmSource,
    Preprocessing,
    built_with,
    film_in_memory,
    film_recipe,
    film_sources,
    kept_pixels,
    load_cohort,
    make_layout,
    open_pixels,
    read_new_films,
)
from prognobench.cohorts._survey import in_order
from prognobench.frame import InputError, Problem

RECIPE = Preprocessing(size=64)


def test_pixels_are_those_of_the_cohort_s_cache(phantom):
    cohort = load_cohort(phantom, [RECIPE])
    pixels = open_pixels(cohort, RECIPE)
    sources = film_sources(phantom)
    assert [source.name for source in sources] == cohort.films["image"].tolist()
    assert [source.patient for source in sources] == cohort.films["patient"].tolist()
    films = list(read_new_films(sources, RECIPE, ahead=5))
    cached = pixels.array[pixels.positions(cohort.films["sha256"].tolist())]
    np.testing.assert_array_equal(np.stack([film.square for film in films]), cached)
    assert all(film.chroma == 0 for film in films)


def test_a_pack_is_found_again_by_its_key(phantom):
    pixels = open_pixels(load_cohort(phantom, [RECIPE]), RECIPE)
    np.testing.assert_array_equal(kept_pixels(pixels.key).array, pixels.array)
    assert kept_pixels("0" * 64) is None


def test_a_key_that_is_a_path_opens_nothing(phantom, tmp_path, monkeypatch):
    pixels = open_pixels(load_cohort(phantom, [RECIPE]), RECIPE)
    monkeypatch.setattr("prognobench.cohorts._packs.images_folder", lambda: pytest.fail("a file was looked for"))
    for key in (f"../packs/{pixels.key}", f"./{pixels.key}", f"{pixels.key}/.", str(tmp_path), "", pixels.key.upper()):
        assert kept_pixels(key) is None


def test_a_picture_in_memory_is_its_file(phantom):
    path = sorted((phantom.parent / "images").iterdir())[0]
    (film,) = read_new_films([FilmSource("film", path)], RECIPE)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(film_in_memory(picture, RECIPE).square, film.square)
        array = np.asarray(picture)
    np.testing.assert_array_equal(film_in_memory(array, RECIPE).square, film.square)


def test_color_is_told_from_gray_that_is_stored_as_color(tmp_path):
    random = np.random.default_rng(0)
    gray = random.integers(0, 256, (80, 70), dtype=np.uint8)
    color = random.integers(0, 256, (8, 7, 3), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    assert film_in_memory(np.stack([gray] * 3, axis=2), RECIPE).chroma == 0
    assert film_in_memory(gray, RECIPE).chroma == 0
    assert film_in_memory(color, RECIPE).chroma > 0.2
    Image.fromarray(color).save(tmp_path / "photo.jpg", quality=90)
    (film,) = read_new_films(film_sources(tmp_path / "photo.jpg"), RECIPE)
    assert film.chroma > 0.2


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((5, 5)), "one gray value"),
        (np.full((5, 5), np.inf), "not finite"),
        (np.zeros((2, 5, 5)), "this is no picture but an array of shape"),
        (np.array([["a"]]), "this is no picture"),
        (np.zeros((0, 5)), "this is no picture"),
        (None, "this is no picture"),
    ],
)
def test_what_is_no_picture_is_refused(picture, message):
    with pytest.raises(BadFilm, match=message):
        film_in_memory(picture, RECIPE)


def test_a_folder_s_films_are_listed_and_nothing_else(tmp_path):
    for name in ("b/2.PNG", "a.jpeg", "c.dcm", "notes.txt", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "IM000001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "README").write_bytes(b"words")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    sources = film_sources(tmp_path)
    assert [source.name for source in sources] == ["IM000001", "a.jpeg", "b/2.PNG", "c.dcm", "link.png"]
    assert sources[-1].path is None and isinstance(sources[-1].fault, Fault)


def test_a_file_without_ending_that_cannot_be_read_ends_no_listing(tmp_path, monkeypatch):
    from prognobench.cohorts import _new_films

    for name in ("IM000001", "a.png"):
        (tmp_path / name).touch()

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_new_films, "_is_marked", denied)
    marked, picture = film_sources(tmp_path)
    assert (marked.name, marked.path) == ("IM000001", None) and picture.path is not None
    assert marked.fault.what == "the file cannot be read (Permission denied)"


@pytest.mark.parametrize("error", [MemoryError, RecursionError, KeyError])
def test_what_nobody_foresaw_of_one_film_is_its_fault(phantom, monkeypatch, error):
    from prognobench.cohorts import _new_films

    first, second = film_sources(phantom.parent / "images")[:2]
    chroma, torn = _new_films._chroma, first.path.read_bytes()

    def fails(content):
        if content == torn:
            raise error("p0000")
        return chroma(content)

    monkeypatch.setattr(_new_films, "_chroma", fails)
    fault, film = read_new_films([first, second], RECIPE)
    assert fault == Fault(f"the film cannot be used ({error.__name__})", "Export it again from its source")
    assert film.square.any()


def test_a_file_that_is_too_large_for_a_film_is_not_read(phantom, monkeypatch):
    source = film_sources(phantom.parent / "images")[0]
    size = source.path.stat().st_size
    monkeypatch.setattr("prognobench.cohorts._films._MOST_BYTES", size - 1)
    (fault,) = read_new_films([source], RECIPE)
    assert fault.what == f"the file has {size} bytes, which is no film"


@pytest.mark.parametrize("given", ["folder", "table", "no ending"])
def test_what_reads_dicom_is_asked_for_before_the_first_film(tmp_path, monkeypatch, given):
    from prognobench.cohorts import _new_films

    def absent():
        raise InputError([Problem("pydicom", "it is not installed", "Install it")])

    monkeypatch.setattr(_new_films, "require_pydicom", absent)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    assert len(film_sources(tmp_path)) == 2
    name = "IM000001" if given == "no ending" else "c.dcm"
    (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "list.csv").write_text(f"image\na.png\n{name}\n")
    with pytest.raises(InputError, match="pydicom: it is not installed"):
        film_sources(tmp_path / "list.csv" if given == "table" else tmp_path)


def test_no_remedy_names_what_only_a_cohort_has(tmp_path):
    from prognobench.cohorts._films import locate

    for name, content in (("empty.png", b""), ("torn.png", b"\x89PNG\r\n\x1a\n"), ("text.png", b"words")):
        (tmp_path / name).write_bytes(content)
    Image.new("L", (9, 9), 3).save(tmp_path / "flat.png")
    found = [*read_new_films(film_sources(tmp_path), RECIPE), locate(tmp_path, "gone.png"), locate(tmp_path, "../x")]
    assert len(found) == 6
    for fault in found:
        assert not any(word in fault.remedy for word in ("`", "the row", "cohort")), fault


@pytest.mark.parametrize("kind", ["empty", "absent", "no image column", "no manifest"])
def test_an_input_without_films_is_named(tmp_path, kind):
    given = tmp_path / "given"
    if kind == "empty":
        given.mkdir()
        (given / "notes.txt").touch()
        message = r"no film below this folder \(1 other files\)"
    elif kind == "absent":
        message = "there is no such file or folder"
    elif kind == "no image column":
        given = tmp_path / "list.csv"
        pd.DataFrame({"file": ["a.png"]}).to_csv(given, index=False)
        message = "the table has no column 'image'"
    else:
        given.mkdir()
        text = "name: x\nmanifest: gone.csv\ncolumns: {image: i, patient: p}\n"
        (given / "cohort.yaml").write_text(text + "tasks: {t: {label: l, positive: a, negative: b}}\n")
        message = "the table 'gone.csv' is not there"
    with pytest.raises(InputError, match=message):
        film_sources(given)


@pytest.mark.parametrize("recipe", ["standard", "paper"])
def test_a_radiograph_is_read_as_a_built_cohort_has_it_and_a_ct_slice_is_named(tmp_path, recipe):
    pytest.importorskip("pydicom")
    import pydicom

    from prognobench.cohorts import build_cohort

    make_layout("dicom", tmp_path / "raw", 6, 0, size=96)
    said = {
        "table": str(tmp_path / "raw" / "outcomes.xlsx"),
        "tasks": {"icu": {"label": "went_icu", "positive": "yes", "negative": "no"}},
    }
    build_cohort("dicom", tmp_path / "raw", tmp_path / "built", said, preprocessing=recipe, workers=1)
    cohort = load_cohort(tmp_path / "built" / "cohort.yaml", [RECIPE])
    how = built_with(cohort.path)
    assert how == film_recipe(recipe)
    pixels = open_pixels(cohort, RECIPE)
    built = {square.tobytes() for square in pixels.array}
    raw = [source for source in film_sources(tmp_path / "raw") if source.path is not None]
    read = list(read_new_films(raw, RECIPE, built=how))
    assert {film.square.tobytes() for film in read if not isinstance(film, Fault)} >= built
    otherwise = read_new_films(raw, RECIPE, built=film_recipe("paper" if recipe == "standard" else "standard"))
    assert not built & {film.square.tobytes() for film in otherwise if not isinstance(film, Fault)}
    first = next(source for source, film in zip(raw, read, strict=True) if not isinstance(film, Fault))
    crop = FilmRecipe.model_validate({"name": "boxes", "steps": [{"step": "crop"}, {"step": "minmax"}]})
    (fault,) = read_new_films([first], RECIPE, built=crop)
    assert fault.what.startswith("the recipe 'boxes' cuts films to boxes of a table")
    dataset = pydicom.dcmread(first.path)
    dataset.Modality, dataset.SOPClassUID = "CT", pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.save_as(tmp_path / "slice.dcm")
    (fault,) = read_new_films(film_sources(tmp_path / "slice.dcm"), RECIPE)
    assert fault.what == "no radiograph: modality CT"


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "jpg"), ("RGB", "jpg"), ("I;16", "tif"), ("I", "tif"), ("L", "tif")]
)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_in_memory_is_turned_as_its_file_is(tmp_path, mode, suffix, orientation):
    random = np.random.default_rng(0)
    if mode in ("L", "RGB"):
        patches = random.integers(0, 256, (6, 4, 3) if mode == "RGB" else (6, 4), dtype=np.uint8)
        picture = Image.fromarray(patches).resize((40, 60), Image.Resampling.BICUBIC)
    else:
        kind = {"I;16": np.uint16, "I": np.int32}[mode]
        picture = Image.fromarray(random.integers(0, 65536, (60, 40)).astype(kind))
    assert picture.mode == mode
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"film.{suffix}"
    # Pillow itself reads a turned TIFF from a path in the wrong order of lines where it is not compressed.
    picture.save(path, exif=exif, **({"compression": "tiff_lzw"} if suffix == "tif" else {}))
    (of_file,) = read_new_films(film_sources(path), RECIPE)
    with Image.open(path) as opened:
        found = film_in_memory(opened, RECIPE)
    np.testing.assert_array_equal(found.square, of_file.square)
    upright = of_file.square.any(axis=0).sum() < of_file.square.any(axis=1).sum()
    assert upright == (orientation in (1, 3))


def test_how_films_were_made_is_known_where_it_was_kept(tmp_path):
    assert built_with(tmp_path / "cohort.yaml") is None
    for text in ("{", "[]", "{}", '{"preprocessing": {"name": "odd", "steps": [{"step": "rotate"}]}}'):
        (tmp_path / "build.json").write_text(text)
        with pytest.raises(InputError, match="it does not say in words of this version how the films were made"):
            built_with(tmp_path / "cohort.yaml")


def test_threads_read_as_far_ahead_as_they_are_told():
    begun = []
    found = in_order(lambda item: begun.append(item) or item, range(100), 30)
    assert next(found) == 0
    assert len(begun) <= 32
    assert list(found) == list(range(1, 100))
