"""What all tests share: caches of their own, and small studies of synthetic films."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """Keep weights and caches out of the user's own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROGNOBENCH_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A synthetic cohort of 24 patients with small films."""
    from prognobench.cohorts import make_phantom

    return make_phantom(tmp_path_factory.mktemp("phantom") / "cohort", 24, 0, size=96)
