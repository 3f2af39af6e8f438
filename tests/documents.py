"""The documentation as tests see it: fenced blocks, and the commands that occur in the text.

Info strings: `bash` and `python` run; `LANGUAGE file=NAME` writes a file; `slow` moves a block to the slow tests;
every other language is only shown.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|`|\$ |&& )zero2r1 ((?:[a-z]|--)[^`\n|#()>&]*)", re.MULTILINE)
MAKE = re.compile(r"(?:^|[`$]\s?)make ([a-z]+)\b", re.MULTILINE)
BLOCK_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a document."""

    language: str
    file: str | None
    is_slow: bool
    text: str
    line: int
    """Of its first line, counted from 1."""

    @property
    def does_something(self) -> bool:
        return self.language in ("bash", "python") or self.file is not None


def documents() -> list[Path]:
    """Every Markdown file of the repository's own."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in order."""
    for match in FENCE.finditer(text):
        words = match["info"].split()
        files = [word.removeprefix("file=") for word in words if word.startswith("file=")]
        yield Block(
            language=words[0] if words else "",
            file=files[0] if files else None,
            is_slow="slow" in words[1:],
            text=match["text"],
            line=text.count("\n", 0, match.start()) + 2,
        )


def commands(text: str) -> list[str]:
    """Arguments of every `zero2r1 ...` that a text shows, line continuations joined."""
    joined = text.replace("\\\n", " ")
    return [match.strip() for match in COMMAND.findall(joined)]


def make_targets(text: str) -> list[str]:
    """Targets of every `make ...` that a text shows as a command."""
    return MAKE.findall(text)


def run(block: Block, folder: Path, where: str) -> None:
    """Execute one block in a folder; a failure names the document and the line."""
    if block.file is not None:
        (folder / block.file).write_text(block.text, encoding="utf-8")
        return
    command = [sys.executable, "-"] if block.language == "python" else ["bash", "-euo", "pipefail", "-s"]
    result = subprocess.run(
        command, cwd=folder, input=block.text, env=_environment(folder), capture_output=True, text=True,
        timeout=BLOCK_TIMEOUT_S,
    )  # fmt: skip
    assert result.returncode == 0, (
        f"{where}:{block.line}\n{block.text}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    )


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment with `zero2r1` on the path, whether or not the package is installed."""
    shims = folder / ".bin"
    shims.mkdir(exist_ok=True)
    shim = shims / "zero2r1"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zero2r1 "$@"\n')
    shim.chmod(0o755)
    path = f"{shims}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
