"""Pseudonyms: the same for the same name, others for other kinds and keys, and a key for its owner alone."""

import hashlib
import hmac
import stat
import sys

import pytest

from prognobench.frame import InputError, Pseudonyms, pseudonyms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path))
    return tmp_path


def test_a_pseudonym_is_a_keyed_hash():
    expected = hmac.new(b"key", b"patient\x00007", hashlib.sha256).hexdigest()[:20]
    assert Pseudonyms(b"key")("patient", "007") == f"patient-{expected}"


def test_a_name_that_is_no_text_has_a_pseudonym():
    expected = hmac.new(b"key", b"film\0\xff.dcm", hashlib.sha256).hexdigest()[:20]
    assert Pseudonyms(b"key")("film", "\udcff.dcm") == f"film-{expected}"


def test_the_key_is_made_once_and_for_its_owner_alone(folder):
    names = pseudonyms()("patient", "007")
    assert names == pseudonyms()("patient", "007")
    path = folder / "pseudonyms.key"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    assert names != pseudonyms()("patient", "007")


def test_a_damaged_key_is_refused_and_not_replaced(folder):
    (folder / "pseudonyms.key").write_bytes(b"short")
    with pytest.raises(InputError, match="has 5 bytes and not 32"):
        pseudonyms()
    assert (folder / "pseudonyms.key").read_bytes() == b"short"
