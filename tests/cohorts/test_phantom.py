"""The phantom: what its table promises, what its films show, and what it refuses."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from prognobench.cohorts import describe, load_cohort
from prognobench.cohorts._phantom import draw_table, make_phantom, render_film
from prognobench.cohorts._phantom_film import Pose, draw_anatomy, draw_density
from prognobench.frame import InputError

SMALL = {"patients": 9, "seed": 3, "size": 96}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return make_phantom(tmp_path_factory.mktemp("phantom") / "out", **SMALL).parent


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def by_patient(films):
    return {film.patient: film for film in films}.values()


def severity_auc(films):
    return roc_auc_score([film.icu == "yes" for film in films], [film.severity for film in films])


# The same arguments, the same bytes.


def test_the_same_arguments_give_the_same_bytes(phantom, tmp_path):
    again = make_phantom(tmp_path / "again", **SMALL).parent
    assert digests(again) == digests(phantom)


def test_another_process_with_another_hash_seed_gives_the_same_bytes(phantom, tmp_path):
    code = (
        "import sys; from pathlib import Path; from prognobench.cohorts._phantom import make_phantom;"
        f"make_phantom(Path(sys.argv[1]), **{SMALL!r})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, env=environment)
    assert digests(tmp_path / "other") == digests(phantom)


def test_another_seed_gives_other_films_and_another_table(phantom, tmp_path):
    other = make_phantom(tmp_path / "other", **{**SMALL, "seed": 4}).parent
    images = {digest for name, digest in digests(phantom).items() if name.endswith(".png")}
    assert images.isdisjoint(digests(other).values())
    assert rows_of(other) != rows_of(phantom)


def test_more_patients_leave_the_first_ones_as_they_are():
    def person(film):
        return film.image, film.patient, film.sex, film.age, film.day, film.severity

    few, many = draw_table(10, 5), draw_table(30, 5)
    assert [person(film) for film in many[: len(few)]] == [person(film) for film in few]


def test_all_films_of_a_phantom_differ(phantom):
    images = [digest for name, digest in digests(phantom).items() if name.endswith(".png")]
    assert len(set(images)) == len(images)


# The table.


@pytest.mark.parametrize(("patients", "prevalence", "ill"), [(9, 0.4, 4), (50, 0.1, 5), (120, 0.4, 48), (10, 0.75, 8)])
def test_the_prevalence_is_exact_to_the_nearest_patient(patients, prevalence, ill):
    outcomes = [film.icu for film in by_patient(draw_table(patients, 1, prevalence=prevalence))]
    assert Counter(outcomes) == {"yes": ill, "no": patients - ill}


def test_patients_have_as_many_films_as_asked_for():
    counts = Counter(film.patient for film in draw_table(200, 2, films_per_patient=(2, 4)))
    assert len(counts) == 200
    assert set(counts.values()) == {2, 3, 4}


def test_what_belongs_to_the_patient_is_the_same_on_all_films_and_days_go_forward():
    films = draw_table(60, 4)
    for patient in {film.patient for film in films}:
        own = [film for film in films if film.patient == patient]
        assert len({(film.center, film.sex, film.age, film.icu) for film in own}) == 1
        days = [film.day for film in own]
        assert days[0] == 0
        assert days == sorted(set(days))


@pytest.mark.parametrize("centers", [1, 2, 3, 8])
def test_every_center_sees_both_outcomes_alike(centers):
    patients = by_patient(draw_table(200, 6, centers=centers))
    cells = Counter((film.center, film.icu) for film in patients)
    assert len(cells) == 2 * centers
    for outcome in ("yes", "no"):
        counts = [count for (_, icu), count in cells.items() if icu == outcome]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("patients", [5, 9, 120])
@pytest.mark.parametrize("confound", [0.0, 0.5, 0.99])
def test_both_views_occur_with_both_outcomes_unless_the_confound_is_total(patients, confound):
    cells = {(film.view, film.icu) for film in draw_table(patients, 0, view_confound=confound)}
    assert cells == {("AP", "yes"), ("AP", "no"), ("PA", "yes"), ("PA", "no")}


def test_a_total_confound_makes_the_view_the_outcome():
    assert {(film.view, film.icu) for film in draw_table(view_confound=1.0)} == {("AP", "yes"), ("PA", "no")}


@pytest.mark.parametrize("confound", [0.0, 0.3, 0.6, 0.9])
def test_the_view_predicts_the_outcome_as_well_as_the_confound_says(confound):
    films = draw_table(400, 7, view_confound=confound)
    mcc = matthews_corrcoef([film.icu == "yes" for film in films], [film.view == "AP" for film in films])
    assert mcc == pytest.approx(confound, abs=0.02)


def test_without_signal_severity_says_nothing_about_the_outcome():
    aucs = [severity_auc(by_patient(draw_table(400, seed, signal=0.0))) for seed in range(12)]
    # The standard error of an AUC with 160 and 240 patients is 0.03; of the mean of twelve, below 0.01.
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03)
    assert max(abs(auc - 0.5) for auc in aucs) < 0.12


def test_the_stronger_the_signal_the_better_severity_predicts_the_outcome():
    aucs = [severity_auc(by_patient(draw_table(400, 8, signal=signal))) for signal in (0.0, 0.1, 0.3, 1.0, 10.0)]
    assert aucs == sorted(aucs)
    assert aucs[-2] > 0.95
    assert aucs[-1] > 0.99


def test_age_sex_and_day_say_nothing_about_the_outcome():
    films = draw_table(4000, 9)
    ill = [film.icu == "yes" for film in films]
    for values in ([film.age for film in films], [film.sex == "F" for film in films], [film.day for film in films]):
        assert roc_auc_score(ill, values) == pytest.approx(0.5, abs=0.04)


# The folder.


def test_the_folder_holds_the_table_the_films_and_what_they_are(phantom):
    films = draw_table(9, 3, size=96)
    assert sorted(path.name for path in phantom.iterdir()) == ["README.md", "cohort.yaml", "images", "labels.csv"]
    assert sorted(path.name for path in (phantom / "images").iterdir()) == sorted(film.image for film in films)
    rows = rows_of(phantom)
    assert list(rows[0]) == ["image", "patient", "center", "view", "sex", "age", "day", "icu", "severity"]
    assert [(row["image"], row["icu"], float(row["severity"])) for row in rows] == [
        (film.image, film.icu, film.severity) for film in films
    ]


def test_the_cohort_file_declares_every_column_and_never_offers_severity_as_a_predictor(phantom):
    cohort = yaml.safe_load((phantom / "cohort.yaml").read_text(encoding="utf-8"))
    assert cohort["roles"] == {
        "acquisition": ["view"],
        "demographic": ["sex", "age"],
        "clinical": ["day"],
        "outcome": ["severity"],
    }
    assert cohort["tasks"] == {"icu": {"label": "icu", "positive": ["yes"], "negative": ["no"]}}
    declared = {*cohort["columns"].values(), *chain(*cohort["roles"].values()), "icu"}
    assert declared == set(rows_of(phantom)[0])


def test_it_says_synthetic_wherever_it_shows(phantom):
    first = (phantom / "cohort.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# SYNTHETIC")
    assert describe(load_cohort(phantom / "cohort.yaml"))["synthetic"] is True
    assert "prognobench cohort phantom OUT --patients 9 --seed 3" in first
    assert "SYNTHETIC" in (phantom / "README.md").read_text(encoding="utf-8").splitlines()[0]
    corners = set()
    for path in sorted((phantom / "images").iterdir()):
        with Image.open(path) as image:
            assert image.info["Comment"] == "synthetic film made by prognobench"
            levels = np.asarray(image, dtype=float) / (255 if image.mode == "L" else 4095)
        corners.add((levels[-9:, :55] > 0.5).tobytes())
    assert len(corners) == 1  # the burnt-in word is the same on every film, and so tells nothing


def test_pil_reads_8_and_16_bit_films_with_the_levels_that_were_drawn(phantom):
    modes = {}
    for film in draw_table(9, 3, size=96):
        with Image.open(phantom / "images" / film.image) as image:
            image.load()
            modes.setdefault(film.center, set()).add((image.mode, image.height))
            np.testing.assert_array_equal(np.asarray(image), render_film(film, 3, size=96))
    assert modes == {"north": {("L", 96)}, "south": {("I;16", 96)}, "east": {("L", 96)}}


def test_12_bit_films_use_their_range_and_do_not_leave_it():
    films = [film for film in draw_table(30, 1) if film.center == "south"][:4]
    levels = np.stack([render_film(film, 1, size=128) for film in films])
    assert levels.dtype == np.uint16
    assert 3000 < levels.max() <= 4095


def test_progress_counts_every_film(tmp_path):
    calls = []
    make_phantom(tmp_path / "out", 4, size=96, prevalence=0.5, progress=lambda done, of: calls.append((done, of)))
    total = len(rows_of(tmp_path / "out"))
    assert calls == [(done, total) for done in range(1, total + 1)]


def test_an_interrupted_phantom_leaves_nothing(tmp_path):
    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_phantom(tmp_path / "out", **SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path):
    assert make_phantom(tmp_path, 4, size=96, prevalence=0.5) == tmp_path / "cohort.yaml"
    assert (tmp_path / "labels.csv").is_file()


# The films.


def pose(view="PA"):
    return Pose(view, 0.0, 0.0, 0.0, 0.0, 1.0, 0.9 if view == "PA" else 0.4, 0.0, 0.5, 0)


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_the_more_opacities_the_denser_the_lungs(view):
    anatomy = draw_anatomy(np.random.SeedSequence(1), "M")
    means = []
    for extent in (0.0, 0.1, 0.3, 0.5, 0.7):
        density, lung = draw_density(anatomy, pose(view), 1.0, extent, 160, np.random.default_rng(0))
        means.append(density[lung].mean())
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.1


@pytest.mark.parametrize("extent", [0.1, 0.3, 0.6])
def test_opacities_cover_the_share_of_the_lungs_that_the_table_says(extent):
    anatomy = draw_anatomy(np.random.SeedSequence(2), "F")
    clear, lung = draw_density(anatomy, pose(), 1.0, 0.0, 160, np.random.default_rng(0))
    hazy, _ = draw_density(anatomy, pose(), 1.0, extent, 160, np.random.default_rng(0))
    assert ((hazy - clear)[lung] > 0.09).mean() == pytest.approx(extent, abs=0.12)


def test_lungs_are_dark_heart_and_spine_bright_and_the_heart_points_to_the_image_right():
    anatomy = draw_anatomy(np.random.SeedSequence(3), "M")
    density, lung = draw_density(anatomy, pose(), 1.0, 0.0, 200, np.random.default_rng(0))
    assert density[lung].mean() < density[:, 95:105].mean() - 0.3  # the midline
    assert density[190:, 60:90].mean() > density[lung].mean() + 0.3  # the liver
    rows = slice(118, 134)  # at the height of the heart's apex
    assert density[rows, 120:136].mean() > density[rows, 64:80].mean() + 0.15


def test_a_portable_film_shows_a_larger_heart_and_less_lung():
    anatomy = draw_anatomy(np.random.SeedSequence(4), "M")
    standing, lung_standing = draw_density(anatomy, pose("PA"), 1.0, 0.0, 200, np.random.default_rng(0))
    lying, lung_lying = draw_density(anatomy, pose("AP"), 1.0, 0.0, 200, np.random.default_rng(0))
    assert lung_lying.sum() < 0.97 * lung_standing.sum()
    both = lung_lying & lung_standing
    beside = both & (np.arange(200) > 118)[None, :] & (np.arange(200) < 142)[None, :]
    assert lying[beside].mean() > standing[beside].mean()


def test_films_alone_predict_the_outcome_with_signal_and_not_without():
    def auc(signal):
        films = draw_table(60, 11, signal=signal, films_per_patient=(1, 1), centers=1)
        shown = []
        for film in films:
            levels = render_film(film, 11, size=128) / 255
            lungs = np.concatenate([levels[35:85, 28:50].ravel(), levels[35:75, 88:102].ravel()])
            shown.append(lungs.mean())
        return roc_auc_score([film.icu == "yes" for film in films], shown)

    assert auc(1.0) > 0.75
    assert abs(auc(0.0) - 0.5) < 0.2


# Refusals.


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("patients", 3),
        ("seed", -1),
        ("films_per_patient", (0, 2)),
        ("films_per_patient", (3, 2)),
        ("films_per_patient", (1, 21)),
        ("prevalence", 0.0),
        ("prevalence", 1.0),
        ("prevalence", float("nan")),
        ("signal", -0.1),
        ("signal", 11.0),
        ("view_confound", -0.1),
        ("view_confound", 1.1),
        ("centers", 0),
        ("centers", 9),
        ("size", 95),
        ("size", 2049),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(tmp_path, argument, value):
    with pytest.raises(InputError, match=f"argument '{argument}'"):
        make_phantom(tmp_path / "out", **{argument: value})
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_its_own_changes_no_film(phantom, tmp_path):
    named = make_phantom(tmp_path / "named", **SMALL, name="north-2").parent
    ours, theirs = digests(phantom), digests(named)
    assert yaml.safe_load((named / "cohort.yaml").read_text())["name"] == "north-2"
    assert {name for name in ours if ours[name] != theirs[name]} == {"cohort.yaml"}


@pytest.mark.parametrize("name", ["", "a: b", "no\nname", "../up", "1"])
def test_a_name_that_yaml_or_tables_could_misread_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="the first a letter"):
        make_phantom(tmp_path / "out", **SMALL, name=name)
    assert not (tmp_path / "out").exists()


def test_all_wrong_arguments_are_named_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        make_phantom(tmp_path / "out", 2, -1, prevalence=2.0, signal=-1.0, size=1)
    named = {problem.where for problem in caught.value.problems}
    assert named >= {f"argument '{name}'" for name in ("patients", "seed", "prevalence", "signal", "size")}


def test_too_few_patients_of_an_outcome_are_refused_with_the_counts(tmp_path):
    with pytest.raises(InputError, match="gives 1 with the outcome and 9 without"):
        make_phantom(tmp_path / "out", 10, prevalence=0.1)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        make_phantom(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_refused(tmp_path):
    place: Path = tmp_path / "out"
    place.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="no folder"):
        make_phantom(place, **SMALL)
    assert place.read_text(encoding="utf-8") == "mine"
