"""The functions that train are handed training and validation rows alone, whatever the strategy and the splits."""

import pandas as pd
import pytest
import yaml

from prognobench.protocols import VALIDATIONS as KINDS
from prognobench.strategies import strategy_cards
from prognobench.studies import Store, plan_study, read_study

pytestmark = pytest.mark.torch

STRATEGIES = ["lp", "fft", "lora", "vera", "ia3", "bitfit"]
VALIDATIONS = [
    "{kfold: {folds: 3}}",
    "{loco: {}}",
    "{holdout: {test: 0.3}}",
    "{predefined: {column: part}}",
    "{external: {test: other/cohort.yaml}}",
]


def test_no_strategy_and_no_way_to_split_is_left_out():
    assert set(strategy_cards()) == set(STRATEGIES)
    assert {next(iter(yaml.safe_load(validation))) for validation in VALIDATIONS} == set(KINDS)


class Handed(Exception):
    """Thrown instead of training, with what would have been trained on."""


@pytest.fixture
def spied(monkeypatch):
    """Make every function that trains throw what it was given."""
    from prognobench import training

    def spy(*arguments, **settings):
        raise Handed(
            [one for one in (*arguments, *settings.values()) if isinstance(one, training.Films | training.Rows)]
        )

    for name in ("fit_majority", "fit_metadata", "fit_probe", "fine_tune"):
        monkeypatch.setattr(training, name, spy)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A cohort with a column of parts, and another one to test on."""
    from prognobench.cohorts import make_phantom

    folder = tmp_path_factory.mktemp("spied")
    make_phantom(folder / "cohort", 24, 0, size=96)
    other = make_phantom(folder / "other", 8, 9, size=96)
    other.write_text(other.read_text().replace("name: phantom", "name: other"), encoding="utf-8")
    table = pd.read_csv(folder / "cohort" / "labels.csv")
    number = table["patient"].str[1:].astype(int)
    table.assign(part=(number % 4).map({0: "test", 1: "val"}).fillna("train")).to_csv(
        folder / "cohort" / "labels.csv", index=False
    )
    return folder


@pytest.mark.parametrize("validation", VALIDATIONS)
@pytest.mark.parametrize("regime", ["full", "{few_shot: {shots: 1}}", "{number: {films: 8}}"])
def test_training_sees_the_films_of_train_and_val_and_no_other(place, spied, validation, regime):
    from prognobench.studies._kit import kit_of
    from prognobench.studies._worker import Bench, WorkerSettings

    study = place / "study.yaml"
    study.write_text(
        "name: spied\ncohorts: [cohort/cohort.yaml]\n"
        'models: [{"timm:test_vit": {weights: random}}]\n'
        f"strategies: [{', '.join(STRATEGIES)}]\nregimes: [{regime}]\nvalidation: {validation}\nprotocol: quick\n"
    )
    plan = plan_study(read_study(study))
    jobs = [job for job in plan.jobs if job.fold == 0]
    assert {job.strategy.split("_")[0] for job in jobs} >= {"majority", "metadata", "random", *STRATEGIES}
    bench = Bench(kit_of(plan), Store(place / "results"), WorkerSettings(place / "results", 1, 600.0))
    for job in jobs:
        with pytest.raises(Handed) as caught:
            bench.run(job)
        bench.forget()
        rows = plan.cohorts["phantom"].task("icu").rows
        rows = rows.merge(plan.splits[job.details["split"]].table[["image", "part"]]).sort_values("image")
        (handed,) = caught.value.args
        assert len(handed) == 2
        for films, part in zip(handed, ("train", "val"), strict=True):
            expected = rows[rows["part"] == part]
            if job.strategy not in ("majority", "metadata"):
                # Not only the right places, but places in the right films: those of the cohort that is trained on.
                pixels = bench._pixels(job, job.cohort)
                own = bench._features(job, job.cohort).array if job.reads_features else pixels.array
                assert films.rows.array is own
                assert len(own) == len(pixels.array)
            if job.strategy == "metadata":
                assert list(films.rows.positions) == list(expected["film"])
            elif job.strategy == "majority":
                # It reads nothing of films: their places are those among all of the task.
                found = plan.cohorts["phantom"].task("icu").rows["image"].sort_values().to_numpy()[films.rows.positions]
                assert list(found) == list(expected["image"])
            else:
                assert list(films.rows.positions) == list(
                    bench._pixels(job, job.cohort).positions(expected["sha256"].tolist())
                )
            assert list(films.labels) == list(expected["label"])
            tested = set(rows.loc[rows["part"] == "test", "sha256"])
            assert not tested & set(expected["sha256"])
