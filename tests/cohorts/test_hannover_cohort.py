"""Real films: the counts that the cohort's own README states."""

from __future__ import annotations

from pathlib import Path

from prognobench.cohorts import Preprocessing, describe, load_cohort, open_pixels


def test_hannover_has_the_counts_of_its_readme(hannover: Path) -> None:
    recipe = Preprocessing(size=32)
    cohort = load_cohort(hannover, [recipe])
    counts = describe(cohort)
    assert (counts["films"], counts["patients"], counts["excluded"]["films"]) == (243, 71, 0)
    icu, early, mortality = (counts["tasks"][name] for name in ("icu", "icu_early", "mortality"))
    assert {name: (c["films"], c["patients"]) for name, c in icu["classes"].items()} == {
        "positive": (186, 29),
        "negative": (57, 42),
    }
    assert {name: (c["films"], c["patients"]) for name, c in mortality["classes"].items()} == {
        "positive": (48, 5),
        "negative": (141, 26),
    }
    assert early["films"] == 104
    assert early["left_out"] == {"in_icu_at_image is not 'N'": 139}
    assert open_pixels(cohort, recipe).array.shape == (243, 32, 32)
    # The table states the size of each film; the decoder must find the same.
    for side in ("width", "height"):
        assert cohort.films[side].tolist() == cohort.table[side].astype(int).tolist()
