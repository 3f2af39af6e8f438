"""From the sources in this folder to a loaded library: compiled for this very machine, once, and kept.

The library lies in the cache folder under a name made of everything it depends on (source, compiler, flags, kind of
CPU, torch), so a changed source or another machine that shares the home folder gets its own. Compiling takes some seven
seconds. Without a compiler nothing is lost but speed: the caller goes on with torch alone and says so.

What it does not do: Windows, and any check that the compiled arithmetic is right: `fused.prove` does that.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import torch

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-Wno-psabi", "-fopenmp", "-fPIC", "-shared")
"""Ours: no -ffast-math, which would let NaN pass unseen. OpenMP is torch's own, already in the process."""
SECONDS = 120
"""Ours: a compiler that takes longer is given up."""


class NoKernelsError(Exception):
    """There is no library; the text says why."""


def library(folder: Path) -> Path:
    """The compiled library in this folder, made now if it is not there yet.

    Raises:
        NoKernelsError: no compiler, a failed compilation, or a folder that others may write to.
    """
    if platform.system() == "Windows":
        raise NoKernelsError("they are not built on Windows")
    compiler = _compiler()
    target = folder / f"kernels-{_fingerprint(compiler)}.so"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        if not target.exists():
            _compile(compiler, target)
    except OSError as problem:
        raise NoKernelsError(f"{folder} cannot be used: {problem.strerror}") from problem
    return target


def load(path: Path) -> ctypes.CDLL:
    """The library as functions without types: `ops` gives them theirs.

    Raises:
        NoKernelsError: the system does not load it.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as problem:
        raise NoKernelsError(f"{path.name} cannot be loaded: {problem}") from problem


def _compiler() -> str:
    named = os.environ.get("CXX")
    found = next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)
    if found is None:
        raise NoKernelsError(f"no C++ compiler ({named or ', '.join(COMPILERS)})")
    return found


def _fingerprint(compiler: str) -> str:
    here = Path(__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in sorted([*here.glob("*.cpp"), *here.glob("*.h")])]
    parts = [*sources, os.path.realpath(compiler), *FLAGS, torch.__version__, *_cpu()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cpu() -> list[str]:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [platform.machine(), platform.processor()]
    return [platform.machine(), *sorted({line for line in lines if line.startswith(("flags", "Features"))})]


def _refuse_foreign(folder: Path) -> None:
    """Code is about to be loaded from here."""
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoKernelsError(f"{folder} belongs to, or can be written by, someone else")


def _compile(compiler: str, target: Path) -> None:
    """Into a name of its own first: another process may be doing the same."""
    with tempfile.TemporaryDirectory(dir=target.parent) as room:
        made, source = Path(room) / target.name, Path(__file__).with_name("kernels.cpp")
        torch_libraries = Path(torch.__file__).parent / "lib"
        command = [compiler, *FLAGS, "-o", str(made), str(source), f"-L{torch_libraries}"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as problem:
            raise NoKernelsError(f"{compiler} took more than {SECONDS} s") from problem
        if result.returncode != 0:
            first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:200])
            raise NoKernelsError(f"{compiler} failed: {first.strip()}")
        made.replace(target)
