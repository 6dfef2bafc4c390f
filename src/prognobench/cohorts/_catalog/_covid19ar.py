"""COVID-19-AR: a rural population in Arkansas."""

from .._cards import CohortCard, PublishedClass, PublishedTask

CARDS = (
    CohortCard(
        id="covid19ar",
        title="COVID-19-AR",
        citation="Desai et al. 2020, doi 10.7937/tcia.2020.py71-5978",
        source="https://doi.org/10.7937/tcia.2020.py71-5978",
        license="see The Cancer Imaging Archive",
        tasks=(
            PublishedTask(
                name="CAR",
                outcome="admission to intensive care",
                negative=(PublishedClass(films=70, patients=70),),
                positive=(PublishedClass(films=29, patients=29),),
                assumed="the rarer class (29 %) is taken for the positive one; the source leaves that open",
            ),
        ),
        counts_from="Ruffini et al., arXiv 2506.18434 (authors' README): 99 films, 71 % and 29 %",
        decisions=(
            "Which film of a patient the paper took is not published; here it is the earliest frontal radiograph "
            "(`films`).",
            "The paper has 99 of the 105 patients, and nothing says which; here every patient with a frontal "
            "radiograph and an ICU Admit cell counts.",
            "Films of other parts of the body are left out, as body part, series and study name them (`body`).",
            "ICU admission (Y) is the positive class.",
        ),
    ),
)
