"""The programs of this package that run inside boxes, and the lines exchanged with them.

What is not here: the programs themselves (`sandbox/inside/`), which nothing imports; their text is sent.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

from zero2r1.sandbox.session import Session

MAX_LINE_BYTES = 2 * 2**20
"""Ours: a longer reply is refused before it is parsed."""


def source_of(name: str) -> str:
    """The text of a module of the sandbox, e.g. `inside/caller.py`."""
    return files("zero2r1.sandbox").joinpath(name).read_text(encoding="utf-8")


def first_line(sources: Sequence[str], files: Mapping[str, str], *, keeps: bool) -> bytes:
    """What `inside/caller.py` wants to know first.

    Args:
        sources: program texts, run in order in one module; only the last one must run without an error.
        files: the project's modules, path -> source.
        keeps: objects that are not plain stay in the box and a handle travels instead.
    """
    return line({"values": source_of("values.py"), "sources": list(sources), "files": dict(files), "keeps": keeps})


def line(message: Mapping[str, object]) -> bytes:
    """A message as one line."""
    return json.dumps(message).encode("ascii")


def reply_of(session: Session) -> dict[str, object] | None:
    """The next reply of a box; None when there is none, or when it is no reply."""
    raw = session.receive()
    if raw is None:
        return None
    return message_of(raw) or {"odd": "something that is no reply"}


def message_of(raw: bytes) -> dict[str, object] | None:
    """A line as a message, None when it is none. Any bytes at all may come."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def problem_in(reply: Mapping[str, object]) -> str:
    """What a reply says went wrong, in words; empty when it brings a value."""
    raised = reply.get("raise")
    if isinstance(raised, dict):
        return f"it raised {str(raised.get('name'))[:80]}: {str(raised.get('text'))[:300]}"
    if "ok" in reply:
        return ""
    return f"it answered with {str(reply.get('odd'))[:300]}"
