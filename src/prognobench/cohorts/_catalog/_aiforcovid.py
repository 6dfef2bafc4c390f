"""AIforCOVID: six Italian hospitals."""

from .._cards import CohortCard, PublishedClass, PublishedTask

# Films by hospital, of the severity MILD and SEVERE. Every patient has one film.
_SEVERITY = {"A": (35, 85), "B": (59, 45), "C": (70, 81), "D": (76, 63), "E": (55, 46), "F": (544, 426)}
# Deaths are published as a share of all (15 %); here each hospital has its part of them.
_DEATHS = {"A": 18, "B": 16, "C": 22, "D": 21, "E": 15, "F": 146}


def _classes(counts: dict[str, int]) -> tuple[PublishedClass, ...]:
    return tuple(PublishedClass(center=center, films=films, patients=films) for center, films in counts.items())


CARDS = (
    CohortCard(
        id="aiforcovid",
        title="AIforCOVID",
        citation="doi 10.5281/zenodo.5760978",
        source="https://aiforcovid.radiomica.it/",
        license="on registration with the portal",
        tasks=(
            PublishedTask(
                name="AFC",
                outcome="severe course (non-invasive ventilation, intensive care or death) against mild",
                negative=_classes({center: mild for center, (mild, _) in _SEVERITY.items()}),
                positive=_classes({center: severe for center, (_, severe) in _SEVERITY.items()}),
            ),
            PublishedTask(
                name="AFC_m",
                aliases=("AFC_death",),
                outcome="death",
                negative=_classes({c: sum(_SEVERITY[c]) - deaths for c, deaths in _DEATHS.items()}),
                positive=_classes(_DEATHS),
                assumed="deaths by hospital: 15 % of all films, dealt in proportion",
            ),
        ),
        counts_from="Ruffini et al., arXiv 2506.18434 (authors' README); hospitals: the first author's public code of "
        "MICCAI 2024",
        decisions=(
            "All films with a row are used. Ten of them are left out by a public script of the authors, and the "
            "paper counts 1585 (`rejected`).",
            "The older spelling LIEVE counts as MILD.",
        ),
    ),
)
