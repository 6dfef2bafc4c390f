"""Published cohorts: known by name, found where the user says, planned by their counts before the films are there."""

import pytest

from prognobench.cohorts import cohort_cards, cohort_places, published_cohort, published_notes, task_names
from prognobench.frame import InputError

# Films, patients and the share of the rarer class, as Ruffini et al. (arXiv 2506.18434) publish them.
PUBLISHED = {
    ("aiforcovid", "AFC"): (1585, 1585, 0.47),
    ("aiforcovid", "AFC_m"): (1585, 1585, 0.15),
    ("covid19ar", "CAR"): (99, 99, 0.29),
    ("cocross", "CC"): (389, 150, 0.37),
    ("stonybrook", "NY_small"): (1365, 1365, 0.13),
    ("stonybrook", "NY_all"): (13639, 1365, 0.36),
}


@pytest.mark.parametrize(("cohort", "task"), PUBLISHED)
def test_a_stand_in_has_the_published_counts(cohort, task):
    rows = published_cohort(cohort).task(task).rows
    films, patients, rarer = PUBLISHED[cohort, task]
    assert (len(rows), rows["patient"].nunique()) == (films, patients)
    share = rows["label"].mean()
    assert min(share, 1 - share) == pytest.approx(rarer, abs=0.005)
    assert rows.groupby("patient")["label"].nunique().max() == 1


def test_the_hospitals_of_aiforcovid_have_their_sizes():
    rows = published_cohort("aiforcovid").task("AFC").rows
    assert rows["center"].value_counts().to_dict() == {"F": 970, "C": 151, "D": 139, "A": 120, "B": 104, "E": 101}


def test_every_published_task_is_one_of_these():
    assert {(card.id, task.name) for card in cohort_cards().values() for task in card.tasks} == set(PUBLISHED)


def test_what_was_assumed_is_said():
    cohorts = {name: published_cohort(name) for name in cohort_cards()}
    notes = dict(zip(cohorts, published_notes(cohorts), strict=True))
    assert "the rarer class (29 %) is taken for the positive one" in notes["covid19ar"]
    assert all("arXiv 2506.18434" in note for note in notes.values())


def test_the_names_of_the_authors_answer():
    assert task_names("aiforcovid", ["AFC_death", "AFC"]) == ["AFC_m", "AFC"]
    assert task_names("stonybrook", ["NY"]) == ["NY_small"]


def test_an_unknown_cohort_is_named():
    with pytest.raises(InputError, match=r"no published cohort is called 'covid19'.*'covid19ar'"):
        published_cohort("covid19")


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_COHORTS", str(tmp_path / "cohorts.yaml"))
    return tmp_path / "cohorts.yaml"


def test_the_command_line_comes_before_the_users_file(places):
    places.write_text("covid19ar: films/car\ncocross: /data/cc\n")
    found = cohort_places(["covid19ar=/elsewhere/my.yaml"])
    assert str(found["covid19ar"]) == "/elsewhere/my.yaml"
    assert str(found["cocross"]) == "/data/cc/cohort.yaml"


def test_folders_of_the_file_are_relative_to_it(places):
    places.write_text("covid19ar: films/car\n")
    assert cohort_places()["covid19ar"] == places.parent / "films" / "car" / "cohort.yaml"


@pytest.mark.parametrize("text", ["- covid19ar", "covid19ar: [a]", "covid19ar: {", "covid19ar: 1"])
def test_a_file_of_another_form_is_named(places, text):
    places.write_text(text)
    with pytest.raises(InputError, match="not a list of cohorts with their folders"):
        cohort_places()


@pytest.mark.parametrize("argument", ["covid19ar", "=dir", "covid19ar="])
def test_an_argument_of_another_form_is_named(places, argument):
    with pytest.raises(InputError, match="not of the form NAME=DIR"):
        cohort_places([argument])
