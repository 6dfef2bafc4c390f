"""COVID-19-NY-SBU: Stony Brook University, New York."""

from .._cards import CohortCard, PublishedClass, PublishedTask

CARDS = (
    CohortCard(
        id="stonybrook",
        title="COVID-19-NY-SBU",
        citation="Saltz et al. 2021, TCIA.BBAG-2690",
        source="The Cancer Imaging Archive, collection COVID-19-NY-SBU",
        license="see The Cancer Imaging Archive",
        tasks=(
            PublishedTask(
                name="NY_small",
                aliases=("NY",),
                outcome="death, one film a patient",
                negative=(PublishedClass(films=1188, patients=1188),),
                positive=(PublishedClass(films=177, patients=177),),
            ),
            PublishedTask(
                name="NY_all",
                outcome="death, every film",
                negative=(PublishedClass(films=8729, patients=1188),),
                positive=(PublishedClass(films=4910, patients=177),),
                assumed="which class has 64 % of the films (survivors here)",
            ),
        ),
        counts_from="Ruffini et al., arXiv 2506.18434 (authors' README): 1365 patients, 87 % and 13 %; 13,639 films, "
        "64 % and 36 %",
        decisions=(
            "Which film of a patient NY_small takes is not published; here it is the earliest frontal one that is"
            " no copy.",
            "NY_all has all of those; how the paper comes to 13,639 is not published.",
            "Copies are told by ReferencedImageSequence or SourceImageSequence, and by a series that is described"
            " as enhanced, contrast or processed (`derived`).",
            "Films of other parts of the body are left out, as body part, series and study name them (`body`).",
            "NY_icu and NY_all_icu, the ICU tasks of the same films, are none of the six tasks of the paper.",
        ),
    ),
)
