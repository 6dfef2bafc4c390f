"""Random cohorts for the laws of splits and regimes: several films a patient, shared films, mixed labels, centers."""

import pandas as pd
from hypothesis import strategies as st

CENTERS = ("a", "b", "c")


def table(films):
    """Make rows of (patient, group, label, center) tuples."""
    rows = pd.DataFrame(films, columns=["patient", "group", "label", "center"])
    rows["image"] = [f"{number:03d}.png" for number in range(len(rows))]
    rows["sha256"] = [f"{number:064x}" for number in range(len(rows))]
    rows["film"] = range(len(rows))
    return rows


def simple(per_class=10, films=1, centers=("a", "b")):
    """A cohort of `per_class` patients of each class in each center, each with as many films."""
    return table(
        [
            (f"{center}{label}{number}", f"{center}{label}{number}", label, center)
            for center in centers
            for label in (0, 1)
            for number in range(per_class)
            for _ in range(films)
        ]
    )


@st.composite
def cohorts(draw, most_films=3, wandering=True, patients=(5, 8)):
    """Enough patients of each class in each center, and others with mixed labels, centers and shared films."""
    films, patient = [], 0
    for center in CENTERS:
        for label in (0, 1):
            for _ in range(draw(st.integers(*patients))):
                patient += 1
                for _ in range(draw(st.integers(1, most_films))):
                    films.append((f"p{patient}", f"p{patient}", label, center))
    cell = st.tuples(st.integers(0, 1), st.sampled_from(CENTERS))
    for films_of in draw(st.lists(st.lists(cell, min_size=1, max_size=most_films), max_size=8)) if wandering else ():
        patient += 1
        # Every third of these shares a film with the patient before: both are one group.
        group = f"p{patient - 1}" if patient % 3 == 0 else f"p{patient}"
        films += [(f"p{patient}", group, label, center) for label, center in films_of]
    return table(draw(st.permutations(films)))


def part_of(split):
    """The part of each image."""
    return dict(zip(split.table["image"], split.table["part"], strict=True))


def films_of(split, part):
    """The images of a part."""
    return set(split.table.loc[split.table["part"] == part, "image"])
