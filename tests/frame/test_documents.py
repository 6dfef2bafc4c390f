"""YAML is read strictly, and every fault is told with its row."""

import pytest
from pydantic import Field

from prognobench.frame import Document, InputError, apply_overrides, parse_document, read_document


class Inner(Document):
    size: int = 1


class Outer(Document):
    name: str
    values: tuple[str, ...] = ()
    inner: Inner = Inner()
    many: dict[str, Inner] = Field(default_factory=dict)


def faults(text, schema=Outer, **options):
    with pytest.raises(InputError) as caught:
        parse_document(text, "file.yaml", schema, **options)
    return [str(problem) for problem in caught.value.problems]


def test_scalars_keep_their_spelling():
    document = parse_document("name: 010\nvalues: [Yes, 1.50, NA, ~, null, 2020-01-01]", "file.yaml", Outer)
    assert document.name == "010"
    assert document.values == ("Yes", "1.50", "NA", "~", "null", "2020-01-01")


def test_numbers_are_read_where_numbers_belong():
    assert parse_document("name: a\ninner: {size: 12}", "file.yaml", Outer).inner.size == 12


def test_unknown_keys_name_the_nearest_known_one_at_any_depth():
    found = faults("name: a\nvalus: [b]\ninner:\n  sise: 3\nmany:\n  x: {siz: 1}\n")
    assert "file.yaml, row 2: unknown key 'valus'. Did you mean 'values'?" in found[0] + found[1] + found[2]
    assert any("row 4" in fault and "Did you mean 'size'" in fault for fault in found)
    assert any("row 6" in fault and "Did you mean 'size'" in fault for fault in found)


def test_all_faults_come_at_once():
    found = faults("inner: {size: big}\nextra: 1\n")
    assert len(found) == 3
    assert any("'name' is missing" in fault for fault in found)
    assert any("row 1" in fault and "integer" in fault for fault in found)


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system [ls]",
        "name: !!python/name:os.system",
        "!!python/object:os.system {}",
        "name: !evil x",
        "values: !!set {a, b}",
    ],
)
def test_tags_that_build_objects_are_refused(text):
    assert any("would build an object" in fault and "row 1" in fault for fault in faults(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("- a\n- b", "not a list of"),
        ("name: [a", "not YAML"),
        ("name: a\nname: b", "'name' stands here and in row 1"),
        ("name: a\n? [x, y]\n: b", "a key is not plain text"),
    ],
)
def test_what_is_no_document_is_told_in_plain_words(text, expected):
    assert any(expected in fault for fault in faults(text))


def test_aliases_cannot_blow_up_memory():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    assert any("too large" in fault for fault in faults(bomb))


def test_overrides_lie_over_the_file_and_reach_inside():
    document = parse_document("name: a\ninner: {size: 2}", "f", Outer, overrides=["inner.size=7", "values=[x, y]"])
    assert (document.inner.size, document.values) == (7, ("x", "y"))


def test_overrides_do_not_change_what_they_are_laid_over():
    data = {"inner": {"size": "1"}}
    apply_overrides(data, ["inner.size=2"])
    assert data == {"inner": {"size": "1"}}


def test_a_malformed_override_is_named():
    with pytest.raises(InputError, match="not of the form key=value"):
        apply_overrides({}, ["protocol"])


def test_a_file_that_is_not_utf8_names_its_row(tmp_path):
    (tmp_path / "f.yaml").write_bytes(b"name: a\nvalues: [\xff]\n")
    with pytest.raises(InputError, match=r"row 2: the file is not UTF-8"):
        read_document(tmp_path / "f.yaml", Outer)
