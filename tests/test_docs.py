"""Pages that are made from the program are as the program would make them."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate():
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_generated_parts_are_up_to_date(generate, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert generate.renewed(text) == text, "run `make docs`"


def test_every_generated_part_has_a_page(generate):
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"<!-- generated: ([\w-]+) -->", pages)) == set(generate.GENERATORS)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_no_page_holds_a_gap_to_be_filled(page):
    assert "@@" not in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_readme_s_own_files_are_valid(tmp_path):
    """The cohort and study that the README spells out are read without a fault."""
    from prognobench.cohorts import CohortSpec
    from prognobench.frame import parse_document
    from prognobench.studies import StudySpec

    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    cohort, study = blocks
    assert parse_document(cohort, "README", CohortSpec).tasks["icu"].positive == ["yes"]
    assert [s.label for s in parse_document(study, "README", StudySpec).strategies] == ["lp", "lora_r8", "fft"]
    for page, schema in (("cohorts", CohortSpec), ("studies", StudySpec)):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert parse_document(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1], page, schema)


def test_the_version_is_told_once_and_the_same():
    from prognobench import __version__

    for name in ("pyproject.toml", "CITATION.cff"):
        assert re.search(rf'^version[:=" ]+{re.escape(__version__)}"?$', (ROOT / name).read_text(), re.MULTILINE), name
