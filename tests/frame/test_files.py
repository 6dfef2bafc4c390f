"""Files and folders are whole or not there."""

import pickle

import pytest

from prognobench.frame import (
    InputError,
    Problem,
    canonical_json,
    folder_in_one_step,
    sha256_bytes,
    sha256_file,
    write_in_one_step,
)


def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path):
    with folder_in_one_step(tmp_path / "a") as draft:
        (draft / "x").write_text("old")
    with pytest.raises(RuntimeError), folder_in_one_step(tmp_path / "a") as draft:
        (draft / "x").write_text("new")
        raise RuntimeError
    assert (tmp_path / "a" / "x").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_folder_replaces_the_old_one(tmp_path):
    for text in ("old", "new"):
        with folder_in_one_step(tmp_path / "a") as draft:
            (draft / text).write_text(text)
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["new"]


def test_text_is_written_as_it_is(tmp_path):
    write_in_one_step(tmp_path / "deep" / "f", "a\r\nü")
    assert (tmp_path / "deep" / "f").read_bytes() == "a\r\nü".encode()
    assert sha256_file(tmp_path / "deep" / "f") == sha256_bytes("a\r\nü".encode())


def test_canonical_json_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_problems_survive_the_way_between_processes():
    error = InputError([Problem("f.csv", "a", "b", 3), Problem("g.csv", "c", "d")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
