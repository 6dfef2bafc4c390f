"""What installed packages offer as strategies: taken, or named with what is wrong with it."""

import sys

import pytest

from prognobench.frame import InputError
from prognobench.strategies import parse_strategies, strategy_cards

OUTSIDER = """
from prognobench.strategies import Strategy, StrategyCard
from prognobench.strategies._lp import LinearProbe

def card(name):
    return StrategyCard(name=name, title="Mine", kind="probe", summary="nothing", source="an example")

class Mine(LinearProbe):
    card = card("mine")

class Other(LinearProbe):
    card = card("mine")

class Taken(LinearProbe):
    card = card("lora")

class Half(Strategy):
    card = card("half")

class NoCard(LinearProbe):
    card = "mine"

class NoSettings(LinearProbe):
    card = card("mine")
    Settings = dict

INSTANCE = Mine()
TEXT = "mine"
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Put a package on disk as pip leaves it."""

    def install(*entries):
        (tmp_path / "outsider.py").write_text(OUTSIDER, encoding="utf-8")
        info = tmp_path / "outsider-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n", encoding="utf-8")
        lines = "\n".join(f"{entry.lower()} = outsider:{entry}" for entry in entries)
        (info / "entry_points.txt").write_text(f"[prognobench.strategies]\n{lines}\n", encoding="utf-8")
        monkeypatch.delitem(sys.modules, "outsider", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_an_installed_package_adds_a_strategy(offer):
    before = strategy_cards().keys()
    offer("Mine")
    assert strategy_cards().keys() - before == {"mine"}
    assert parse_strategies(["mine"])[0].label == "mine"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Taken", "the strategy 'lora' is there already, from this package"),
        ("Half", "the class Half lacks apply, load, merge, plan, remove, state"),
        ("NoCard", "the class NoCard has no StrategyCard"),
        ("NoSettings", "the class NoSettings has no Document"),
        ("INSTANCE", "not a class of strategies"),
        ("TEXT", "not a class of strategies"),
        ("NOTHING", "cannot be imported"),
    ],
)
def test_a_package_that_offers_nonsense_is_named(offer, entry, message):
    offer(entry)
    with pytest.raises(InputError, match=rf"(?s)entry point '(?i:{entry})' of the package 'outsider'.*{message}"):
        strategy_cards()


def test_all_faults_are_told_at_once(offer):
    offer("Mine", "Other", "TEXT")
    with pytest.raises(InputError) as caught:
        parse_strategies(["lp"])
    assert len(caught.value.problems) == 2
    assert "the strategy 'mine' is there already, from entry point 'mine'" in str(caught.value)


def test_the_command_line_ends_with_the_reason(offer):
    from typer.testing import CliRunner

    from prognobench.cli import app

    offer("NOTHING")
    done = CliRunner().invoke(app, ["strategies"])
    assert done.exit_code == 2
    assert "outsider" in done.output
