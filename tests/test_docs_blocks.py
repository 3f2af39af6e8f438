"""The documentation does what it says: its code blocks run, in order, in an empty folder per document."""

from pathlib import Path

import pytest
from documents import ROOT, Block, blocks, documents, run


def found(*, slow: bool) -> list[Path]:
    """Documents with something to run; with `slow`, those that have a slow block."""
    return [
        path
        for path in documents()
        if any(
            block.does_something and (block.is_slow or not slow) for block in blocks(path.read_text(encoding="utf-8"))
        )
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", found(slow=False), ids=name_of)
def test_the_blocks_of_a_document_run(path: Path, tmp_path: Path):
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.does_something and not block.is_slow:
            run(block, tmp_path, name_of(path))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", found(slow=True), ids=name_of)
def test_all_blocks_of_a_document_run(path: Path, tmp_path: Path):
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.does_something:
            run(block, tmp_path, name_of(path))


def test_the_documents_that_promise_it_have_running_blocks():
    assert {"README.md", "docs/extend.md"} <= {name_of(path) for path in found(slow=False)}


def test_a_block_that_fails_is_noticed(tmp_path: Path):
    failing = Block(language="bash", file=None, is_slow=False, text="false\ntrue\n", line=1)
    with pytest.raises(AssertionError, match="somewhere:1"):
        run(failing, tmp_path, "somewhere")


def test_blocks_are_read_with_their_info_strings():
    text = "a\n\n```python file=x.py\n1\n```\n\n```bash slow\n2\n```\n\n```console\n$ 3\n```\n"
    read = [(block.language, block.file, block.is_slow, block.does_something, block.line) for block in blocks(text)]
    assert read == [
        ("python", "x.py", False, True, 4),
        ("bash", None, True, True, 8),
        ("console", None, False, False, 12),
    ]
