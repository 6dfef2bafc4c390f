"""CoCross: intensive care patients with several films each."""

from .._cards import CohortCard, PublishedClass, PublishedTask

CARDS = (
    CohortCard(
        id="cocross",
        title="CoCross",
        citation="Kilintzis et al. 2022, doi 10.3390/healthcare10020276",
        source="https://doi.org/10.3390/healthcare10020276",
        license="see the publication",
        tasks=(
            PublishedTask(
                name="CC",
                aliases=("CoCross",),
                outcome="death in intensive care",
                negative=(PublishedClass(films=144, patients=55),),
                positive=(PublishedClass(films=245, patients=95),),
                assumed="which class has 63 % of the films (death here), and the same share of the patients",
            ),
        ),
        counts_from="Ruffini et al., arXiv 2506.18434 (authors' README): 389 films of 150 patients, 63 % and 37 %",
        decisions=(
            "How films are named and stored is not published; here a film is an image whose name begins with the "
            "ID of a patient, or that lies in a folder of that name.",
            "Of several rows of a patient the first cell that is not empty counts; a patient with two outcomes is"
            " left out.",
            "Death is the positive class.",
        ),
    ),
)
