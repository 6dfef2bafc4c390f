"""Films of one patient, and of patients who share a film, stay together."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from prognobench.cohorts._groups import group_films

films = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("stuvwxyz")), min_size=1, max_size=30)


@given(films)
def test_groups_are_the_connected_components_of_patients_and_contents(films: list[tuple[str, str]]) -> None:
    patients, contents = zip(*films, strict=True)
    groups = group_films(patients, contents)

    nodes = {name: place for place, name in enumerate(dict.fromkeys([*patients, *contents]))}
    edges = ([nodes[patient] for patient in patients], [nodes[content] for content in contents])
    graph = coo_array(([1] * len(films), edges), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    expected = [component[nodes[patient]] for patient in patients]
    pairs = set(zip(groups, expected, strict=True))
    assert len(pairs) == len(set(groups)) == len(set(expected))


@given(films)
def test_a_group_is_named_after_its_smallest_patient(films: list[tuple[str, str]]) -> None:
    patients, contents = zip(*films, strict=True)
    members = defaultdict(set)
    for patient, group in zip(patients, group_films(patients, contents), strict=True):
        members[group].add(patient)
    assert all(group == min(patients_in) for group, patients_in in members.items())


@given(films, st.randoms())
def test_groups_do_not_depend_on_the_order_of_the_rows(films: list[tuple[str, str]], random) -> None:
    shuffled = random.sample(films, len(films))
    first = dict(zip(films, group_films(*zip(*films, strict=True)), strict=True))
    second = dict(zip(shuffled, group_films(*zip(*shuffled, strict=True)), strict=True))
    assert first == second


@given(films)
def test_without_contents_a_group_is_a_patient(films: list[tuple[str, str]]) -> None:
    patients = [patient for patient, _ in films]
    assert group_films(patients, [None] * len(patients)) == patients
