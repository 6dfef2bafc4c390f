"""Names that stand for patients and films outside of the machine that knows them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ._errors import InputError, Problem
from ._files import file_lock
from ._places import home

_BYTES = 32
_DIGITS = 20  # 80 bits: among a million names the chance that two are given one is below 1e-12


class Pseudonyms:
    """Names made with a key: the same for the same name, and not to be led back without the key.

    Parameters
    ----------
    key
        Secret bytes. Without them nobody can try a list of hospital numbers and see which one gives a pseudonym,
        as they could with a plain hash.

    Examples
    --------
    >>> names = Pseudonyms(b"secret")
    >>> names("patient", "007") == names("patient", "007") != names("image", "007")
    True

    Notes
    -----
    HMAC with SHA-256 (RFC 2104) of the kind and the name.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, kind: str, name: str) -> str:
        """Return the pseudonym of a name; names of different kinds have nothing in common."""
        message = f"{kind}\0{name}".encode("utf-8", "surrogateescape")  # names of files may be no text
        return f"{kind}-{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_DIGITS]}"


def pseudonyms() -> Pseudonyms:
    """Return the pseudonyms of this user, whose key lies in `home()` and is made when first asked for.

    Raises
    ------
    InputError
        The key cannot be read or written, or is not one.
    """
    path = home() / "pseudonyms.key"
    try:
        with file_lock(path.with_name(".pseudonyms.lock")):
            key = path.read_bytes() if path.exists() else _make_key(path)
    except OSError as error:
        what = f"the key of the pseudonyms cannot be used ({error.strerror})"
        raise InputError([Problem(str(path), what, "Check its permissions")]) from None
    if len(key) != _BYTES:
        what = f"the key of the pseudonyms has {len(key)} bytes and not {_BYTES}"
        raise InputError([Problem(str(path), what, "Put the key back; without it older pseudonyms fit no more")])
    return Pseudonyms(key)


def _make_key(path: Path) -> bytes:
    key = secrets.token_bytes(_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # The file is born readable to its owner alone; permissions that come later come too late.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    return key
