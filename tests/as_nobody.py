"""Runs a Python script as uid 65534, with this interpreter, its packages and this checkout made readable.

    from as_nobody import run_as_nobody

    result = run_as_nobody("import os; print(os.getuid())")

The interpreter may lie below a home folder that only root can enter. So the script runs in a mount namespace of its
own, in which each such folder is covered by an empty one and what is needed is shown in it again, at the same path.
Nothing changes outside. Without root the script simply runs as the current user, who is nobody special either.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534
ROOT = Path(__file__).resolve().parent.parent
NEEDED = (Path(sys.base_prefix), Path(sys.prefix), ROOT)


def run_as_nobody(script: str, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run to the end; the package can be imported. Skips the test where mounts cannot be made."""
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            pytest.skip("no mount namespace can be made here")
        command = ["unshare", "-m", sys.executable, __file__, *command]
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment)


def _show(needed: list[Path]) -> None:
    """Make these folders reachable for everybody, in this mount namespace."""
    blocked = sorted({_first_closed(path) for path in needed} - {None})
    handles = {path: os.open(path, os.O_PATH) for path in needed}
    for folder in blocked:
        _mount("-t", "tmpfs", "-o", "mode=755", "none", str(folder))
    for path, handle in handles.items():
        if any(path.is_relative_to(folder) for folder in blocked) and not path.exists():
            path.mkdir(parents=True)
            _mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{handle}", str(path))


def _first_closed(path: Path) -> Path | None:
    """The highest folder on the way to `path` that others cannot enter."""
    return next((each for each in reversed([path, *path.parents]) if not each.stat().st_mode & 0o001), None)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def main() -> None:
    """Inside the new mount namespace, still root: show, drop, run."""
    _mount("--make-rprivate", "/")
    _show([path.resolve() for path in NEEDED])
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir(ROOT)
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
