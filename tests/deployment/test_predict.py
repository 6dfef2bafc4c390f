"""Many films: every good one predicted, every bad one named, nothing done twice."""

import copy
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.deployment import Predicted, predict, print_predicted
from prognobench.deployment._likeness import fit_likeness
from prognobench.deployment._model import FAR, _unlike
from prognobench.deployment._predict import _identity, _Journal
from prognobench.frame import InputError

pytestmark = pytest.mark.torch


@pytest.fixture
def films(phantom, tmp_path):
    """A folder of twenty films."""
    (tmp_path / "films").mkdir()
    for path in sorted((phantom.parent / "images").iterdir())[:20]:
        shutil.copy(path, tmp_path / "films")
    return tmp_path / "films"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_holds_the_model_s_own_numbers(fitted, phantom, tmp_path, suffix):
    model, _ = fitted["lora_r2"]
    out = tmp_path / f"predicted{suffix}"
    predicted = predict(model, phantom, out)
    read = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    own = model.scores(phantom.parent)
    for column in ("probability", "score", "distance"):
        np.testing.assert_array_equal(read[column], own[column])
    assert read["decision"].tolist() == own["decision"].tolist()
    assert (predicted.bad, predicted.resumed) == ((), 0)
    assert not list(tmp_path.glob("*.unfinished"))


def test_patients_are_the_mean_score_of_their_films_calibrated_as_patients(fitted, phantom, tmp_path):
    model, _ = fitted["lora_r2"]
    predicted = predict(model, phantom.parent, tmp_path / "predicted.csv")
    patients = pd.read_csv(predicted.patients).set_index("patient")
    at = model.description.calibration["patient"]
    for patient, films in predicted.table.groupby("patient"):
        mean = films["score"].mean()
        expected = 1 / (1 + np.exp(-(at.slope * np.log(mean / (1 - mean)) + at.intercept)))
        assert patients.loc[patient, "probability"] == pytest.approx(expected, abs=1e-12)
        assert patients.loc[patient, "films"] == len(films)
        assert (patients.loc[patient, "decision"] == "positive") == (expected >= at.threshold)
    assert len(patients) == 24


def test_bad_films_are_named_and_the_rest_is_done(fitted, films, tmp_path):
    model, folder = fitted["lp"]
    whole = sorted(films.iterdir())[0].read_bytes()
    (films / "torn.png").write_bytes(whole[: len(whole) // 2])
    (films / "empty.png").write_bytes(b"")
    Image.new("L", (50, 50), 7).save(films / "flat.png")
    (films / "notes.txt").write_text("not a film")
    predicted = predict(model, films, tmp_path / "predicted.csv")
    assert [problem.where for problem in predicted.bad] == ["empty.png", "flat.png", "torn.png"]
    assert predicted.bad[1].remedy == "Export it again from its source"
    assert predicted.table["probability"].notna().sum() == 20
    read = pd.read_csv(tmp_path / "predicted.csv").set_index("image")
    assert read.loc["flat.png", "problem"].startswith("the film has one gray value only. ")
    assert read.loc[["empty.png", "torn.png"], "probability"].isna().all()
    arguments = ["predict", str(folder), str(films), "--out", str(tmp_path / "predicted.csv")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "20 films predicted" in done.output and "torn.png" in done.output
    arguments[2] = str(films / "torn.png")
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_what_is_done_is_not_done_again(fitted, films, tmp_path, monkeypatch):
    model, _ = fitted["lp"]
    out = tmp_path / "predicted.csv"
    whole = predict(model, films, tmp_path / "whole.csv").table

    class Stop(Exception):
        pass

    def stop(done, total):
        assert total == 20
        if done >= 2 * model.scorer.batch:
            raise Stop

    with pytest.raises(Stop):
        predict(model, films, out, stop)
    assert not out.exists()
    journal = tmp_path / "predicted.csv.unfinished"
    # The machine went down in the middle of a line, and one of the films that were done was changed since.
    journal.write_text(journal.read_text() + '{"key": "tor')
    first = sorted(films.iterdir())[0]
    other = Image.open(sorted(films.iterdir())[1])
    other.save(first)
    seen = []
    table = type(model).table
    monkeypatch.setattr(
        type(model), "table", lambda self, names, films: seen.extend(names) or table(self, names, films)
    )
    predicted = predict(model, films, out)
    assert predicted.resumed == 2 * model.scorer.batch - 1
    assert seen == [first.name, *sorted(path.name for path in films.iterdir())[2 * model.scorer.batch :]]
    pd.testing.assert_frame_equal(predicted.table.iloc[1:], whole.iloc[1:], check_exact=True)
    assert predicted.table["score"][0] == whole["score"][1]
    assert not journal.exists()


def test_the_unfinished_work_of_another_model_is_refused(fitted, films, tmp_path):
    model, _ = fitted["lp"]
    journal = tmp_path / "predicted.csv.unfinished"
    journal.write_text(json.dumps({"model": "another"}) + "\n")
    with pytest.raises(InputError, match="it holds what another model has predicted and not finished"):
        predict(model, films, tmp_path / "predicted.csv")
    assert journal.exists()


@pytest.mark.parametrize(
    "left",
    [
        "",
        "\n",
        '{"model": "',
        "5\n",
        '\n{"model": "another"}\n{row}\n',
        '{"mod\n{row}\n',
        "{row}\n",
    ],
)
def test_rows_count_only_behind_the_name_of_their_model(tmp_path, left):
    path = tmp_path / "predicted.csv.unfinished"
    row = {"image": "a.png", "score": 0.9}
    path.write_text(left.replace("{row}", json.dumps({"key": "a", "row": row})))
    journal = _Journal(path, "B")
    assert journal.read() == {}
    with journal.writing() as write:
        # The name is on disk before the first film is: whoever dies in the first batch leaves it.
        assert path.read_text() == '{"model": "B"}\n'
        write({"b": row})
    assert _Journal(path, "B").read() == {"b": row}
    with pytest.raises(InputError, match="another model"):
        _Journal(path, "A").read()
    path.write_text(path.read_text() + '5\n\n{"key": "tor')
    again = _Journal(path, "B")
    assert again.read() == {"b": row}
    with again.writing() as write:
        write({"c": row})
    assert _Journal(path, "B").read() == {"b": row, "c": row}


def test_models_do_not_take_each_other_s_work_for_their_own(fitted, films, tmp_path):
    (one, _), (other, _) = fitted.values()

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(one, films, tmp_path / "predicted.csv", stop)
    with pytest.raises(InputError, match="another model"):
        predict(other, films, tmp_path / "predicted.csv")


def test_the_input_is_not_written_over(fitted, films, phantom, tmp_path):
    model, _ = fitted["lp"]
    table = pd.DataFrame({"image": [f"films/{path.name}" for path in sorted(films.iterdir())[:2]]})
    table.to_csv(tmp_path / "films.csv", index=False)
    table.to_csv(tmp_path / "x-patients.csv", index=False)
    (tmp_path / "link.csv").symlink_to(tmp_path / "films.csv")
    cohort = shutil.copytree(phantom.parent, tmp_path / "cohort")
    kept = {path: path.read_bytes() for path in (*tmp_path.glob("*.csv"), *cohort.glob("*.*"))}
    for given, out in (
        ("films.csv", "films.csv"),
        ("link.csv", "films.csv"),
        ("x-patients.csv", "x.csv"),
        ("cohort", "cohort/labels.csv"),
        ("cohort/cohort.yaml", "cohort/labels.csv"),
    ):
        with pytest.raises(InputError, match="would take the place of its own input"):
            predict(model, tmp_path / given, tmp_path / out)
    assert {path: path.read_bytes() for path in kept} == kept
    predict(model, tmp_path / "films.csv", tmp_path / "out.csv")
    predict(model, tmp_path / "films.csv", tmp_path / "out.csv")


def test_a_film_that_could_not_be_read_is_tried_again(fitted, films, tmp_path, monkeypatch):
    from prognobench.cohorts import Fault
    from prognobench.deployment import _predict

    model, _ = fitted["lp"]

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with monkeypatch.context() as away:
        fault = Fault("the network share is away", "Wait")
        away.setattr(_predict, "read_new_films", lambda sources, *_, **__: iter([fault] * len(sources)))
        with pytest.raises(KeyboardInterrupt):
            predict(model, films, tmp_path / "predicted.csv", stop)
    assert (tmp_path / "predicted.csv.unfinished").exists()
    predicted = predict(model, films, tmp_path / "predicted.csv")
    assert (predicted.bad, predicted.resumed) == ((), 0)


def test_what_and_remedy_of_a_film_are_kept_apart(fitted, films, tmp_path, monkeypatch):
    from prognobench.cohorts import Fault
    from prognobench.deployment import _predict

    fault = Fault("it is damaged (no. 7 of it. Sorry)", "Wait. Or not")
    monkeypatch.setattr(_predict, "read_new_films", lambda sources, *_, **__: iter([fault] * len(sources)))
    predicted = predict(fitted["lp"][0], films, tmp_path / "predicted.csv")
    assert {(problem.what, problem.remedy) for problem in predicted.bad} == {(fault.what, fault.remedy)}
    assert set(predicted.table["problem"]) == {f"{fault.what}. {fault.remedy}"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_patients_of_an_earlier_call_do_not_stay_beside_other_films(fitted, films, phantom, tmp_path, suffix):
    model, _ = fitted["lp"]
    out, earlier = tmp_path / f"predicted{suffix}", tmp_path / f"predicted-patients{suffix}"
    assert predict(model, phantom, out).patients == earlier and earlier.exists()
    assert predict(model, films, out).patients is None and not earlier.exists()
    earlier.write_text("of somebody else\n1\n")
    predict(model, films, out)
    assert earlier.read_text() == "of somebody else\n1\n"


def test_films_of_one_name_and_date_in_two_folders_are_two(fitted, films, tmp_path):
    import os

    model, _ = fitted["lp"]
    other = shutil.copytree(films, tmp_path / "other")
    for path in films.iterdir():
        data = path.read_bytes()
        (other / path.name).write_bytes(data)
        for one in (path, other / path.name):
            os.utime(one, (1, 1))

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, films, tmp_path / "predicted.csv", stop)
    assert predict(model, other, tmp_path / "predicted.csv").resumed == 0


def test_a_film_is_not_resumed_with_another_calibration(fitted, films, tmp_path):
    model, _ = fitted["lp"]
    film = model.description.film.model_copy(update={"slope": model.description.film.slope * (1 + 1e-9)})
    calibration = model.description.calibration | {"film": film}
    other = copy.copy(model)
    other.description = model.description.model_copy(update={"calibration": calibration})
    assert _identity(other) != _identity(model) == _identity(copy.copy(model))


def test_a_table_of_films(fitted, films, tmp_path):
    model, _ = fitted["lp"]
    names = sorted(path.name for path in films.iterdir())[:2]
    table = pd.DataFrame({"image": [f"films/{names[1]}", "films/gone.png", f"films/{names[0]}", "../up.png"]})
    table.to_csv(tmp_path / "list.csv", index=False)
    predicted = predict(model, tmp_path / "list.csv", tmp_path / "predicted.csv")
    assert predicted.table["image"].tolist() == table["image"].tolist()
    assert [problem.where for problem in predicted.bad] == ["films/gone.png", "../up.png"]
    assert predicted.patients is None
    assert "patient" not in pd.read_csv(tmp_path / "predicted.csv")
    table.rename(columns={"image": "file"}).to_csv(tmp_path / "list.csv", index=False)
    with pytest.raises(InputError, match=r"has no column 'image'.*it has: file"):
        predict(model, tmp_path / "list.csv", tmp_path / "predicted.csv")


@pytest.mark.parametrize(
    ("make", "out", "message"),
    [
        (lambda folder: folder.mkdir(), "p.csv", "there is no film below this folder"),
        (lambda folder: None, "p.csv", "there is no such file or folder"),
        (lambda folder: folder.mkdir(), "p.xlsx", "a table of the kind '.xlsx' cannot be written"),
    ],
)
def test_input_that_cannot_be_predicted_ends_with_status_2(fitted, tmp_path, make, out, message):
    make(tmp_path / "given")
    arguments = ["predict", str(fitted["lp"][1]), str(tmp_path / "given"), "--out", str(tmp_path / out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def photograph(side=120):
    """A color picture with smooth patches, as of a beach."""
    random = np.random.default_rng(3)
    patches = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)


def test_a_color_photograph_and_noise_are_flagged_as_unlike(fitted, films, tmp_path):
    model, _ = fitted["lp"]
    photograph().save(films / "photo.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8)
    Image.fromarray(noise).save(films / "noise.png")
    table = predict(model, films, tmp_path / "predicted.csv").table.set_index("image")
    assert "it is a color picture" in table.loc["photo.jpg", "unlike"]
    assert table.loc["photo.jpg", "distance"] > 1 and table.loc["noise.png", "distance"] > 1
    assert table.loc["noise.png", "unlike"] == "its features are far from those of the training films"
    others = table.drop(index=["photo.jpg", "noise.png"])
    assert (others["unlike"] == "").all()


def test_a_gray_film_that_is_stored_as_color_is_not_flagged(fitted, films, tmp_path):
    model, _ = fitted["lp"]
    first = sorted(films.iterdir())[0]
    with Image.open(first) as film:
        gray = np.asarray(film.convert("L"))
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.stack([gray] * 3, axis=2)).save(tmp_path / "color.png")
    one, other = (model.scores(tmp_path / f"{name}.png").iloc[0] for name in ("gray", "color"))
    assert one["unlike"] == other["unlike"] == ""
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_where_all_training_films_are_alike_no_film_is_called_like_them():
    likeness = fit_likeness(np.ones((6, 3), np.float32), np.arange(6) // 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = likeness.distances(np.array([[1, 1, 1], [1, 2, 1]], np.float32))
    assert not np.isfinite(distances).any()
    assert all(_unlike(distance, False) == FAR for distance in distances)
    assert _unlike(1.0, False) == ""


def test_the_distance_is_mahalanobis_and_its_limit_that_of_held_out_films():
    from sklearn.covariance import LedoitWolf, ShrunkCovariance

    random = np.random.default_rng(0)
    mix = random.normal(size=(6, 6))
    features = (random.normal(size=(200, 6)) @ mix + 5).astype(np.float32)
    groups = np.arange(200) // 2
    likeness = fit_likeness(features, groups)

    def standardized(films):
        spread = films.std(axis=0)
        return (films - films.mean(axis=0)) / np.maximum(spread, np.median(spread) / 2)

    shrinkages = [
        LedoitWolf(assume_centered=True).fit(standardized(features[groups % 5 != fold])).shrinkage_ for fold in range(5)
    ]
    standard = standardized(features)
    precision = ShrunkCovariance(assume_centered=True, shrinkage=np.mean(shrinkages)).fit(standard).precision_
    expected = np.sqrt(np.einsum("ij,jk,ik->i", standard, precision, standard))
    np.testing.assert_allclose(likeness.distances(features) * likeness.limit, expected, rtol=1e-4)
    fresh = (random.normal(size=(20_000, 6)) @ mix + 5).astype(np.float32)
    assert 0.005 < (likeness.distances(fresh) > 1).mean() < 0.05
    assert (likeness.distances(fresh + 40 * features.std(axis=0)) > 1).all()


def _like_those_of_a_cnn(random, films, width=1280, dead=0.1):
    """Draw correlated features as of a CNN behind a ReLU: spreads differ a hundredfold, some hardly ever fire."""
    fixed = np.random.default_rng(7)
    mix = fixed.normal(size=(30, width)) * np.linspace(1, 0.1, 30)[:, None]
    spread = 10 ** fixed.uniform(-2, 0, width)
    found = spread * np.maximum(random.normal(size=(films, 30)) @ mix + random.normal(size=(films, width)) + 2, 0)
    rarely = fixed.permutation(width)[: int(dead * width)]
    found[:, rarely] = np.where(random.random((films, len(rarely))) < 0.002, spread[rarely], 0)
    return found.astype(np.float32), spread


def test_with_ten_times_as_many_features_as_films_the_flag_tells_what_is_no_such_film():
    random = np.random.default_rng(0)
    features, spread = _like_those_of_a_cnn(random, 120)
    fresh, _ = _like_those_of_a_cnn(random, 1000)
    # Another mean along random directions, as of a film that is inverted, and features that all fire, as of noise.
    shift = np.random.default_rng(8).normal(size=features.shape[1]) * 1.5 * spread
    inverted = np.maximum(fresh[:120] + shift, 0).astype(np.float32)
    noise = (spread * np.abs(random.normal(size=(120, len(spread)))) * 4).astype(np.float32)
    every = np.arange(120)
    likeness = fit_likeness(features, every // 2, {"inverted": (every, inverted), "noise": (every, noise)})
    assert (likeness.distances(fresh) > 1).mean() < 0.05
    assert (likeness.distances(inverted) > 1).mean() > 0.95 and (likeness.distances(noise) > 1).all()
    assert likeness.caught["inverted"] > 0.95 and likeness.caught["noise"] == 1
    assert fit_likeness(features, every // 2, {"same": (every, features)}).caught["same"] < 0.05


@pytest.mark.parametrize("films", [24, 120])
def test_one_odd_training_film_does_not_set_the_limit(films):
    random = np.random.default_rng(1)
    features, _ = _like_those_of_a_cnn(random, films, width=64, dead=0)
    far, _ = _like_those_of_a_cnn(random, 50, width=64, dead=0)
    odd = features.copy()
    odd[3] += 30 * features.std(axis=0)
    one, other = (fit_likeness(each, np.arange(films) // 2) for each in (features, odd))
    assert other.distances(odd[3:4])[0] > 1
    assert (one.distances(far * 4) > 1).all() and (other.distances(odd[3:4] + far) > 1).all()


def test_a_feature_that_hardly_varies_does_not_rule_the_distance():
    random = np.random.default_rng(2)
    features = random.normal(size=(100, 20)).astype(np.float32)
    features[:, 0] = 0
    features[5, 0] = 1e-3
    likeness = fit_likeness(features, np.arange(100))
    plain = fit_likeness(features[:, 1:], np.arange(100))
    nudged = features[:1].copy()
    nudged[0, 0] = 1e-2
    assert likeness.distances(nudged)[0] == pytest.approx(likeness.distances(features[:1])[0], rel=0.01)
    assert likeness.limit == pytest.approx(plain.limit, rel=0.1)


def test_an_interrupted_prediction_says_that_the_same_command_goes_on(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("prognobench.deployment.Model.load", lambda *_: None)
    monkeypatch.setattr("prognobench.deployment.predict", interrupted)
    done = CliRunner().invoke(app, ["predict", "model", "films", "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 130
    assert "p.csv.unfinished; the same command goes on from there." in " ".join(done.output.split())


def test_one_film_is_one_film(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    for count, told in ((1, "1 film predicted"), (2, "2 films predicted")):
        table = pd.DataFrame({"decision": ["positive"] * count})
        print_predicted(Predicted(table, tmp_path / "p.csv", None), console)
        assert told in console.file.getvalue()


def test_a_folder_that_is_not_there_is_named_as_such():
    done = CliRunner().invoke(app, ["fit", "nowhere", "--out", "model"])
    assert done.exit_code == 2 and "there is no such folder or file" in " ".join(done.output.split())
