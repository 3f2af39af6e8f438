"""Runs Python source the way the interpreter runs a script: as `__main__`, with tracebacks and exit codes.

Deviations from `python program.py`: arguments are empty, tracebacks quote no source lines, and at the end only what
the program's own names hold is destroyed (so files left open are flushed), not what modules hold. Standard streams are
UTF-8 whatever the locale says, as in UTF-8 mode.

Runs inside a box, sent as text: it imports nothing of the package and nothing heavy.
"""

import builtins
import io
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAME = "<program>"
READ_SIZE = 1 << 20


def read_all(descriptor: int) -> bytes:
    """Everything that is left to read."""
    pieces = []
    while piece := os.read(descriptor, READ_SIZE):
        pieces.append(piece)
    return b"".join(pieces)


def open_streams() -> None:
    """Standard streams on the descriptors 0 to 2; those of the interpreter's start belong to other files."""
    sys.stdin = sys.__stdin__ = _stream(0, "r", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace", line_by_line=True)  # type: ignore[misc]


def run_program(source: bytes) -> int:
    """Run to the end, threads and exit functions included, and say the exit code (0 to 255)."""
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=NAME)
    sys.modules["__main__"] = main
    sys.argv = ["program"]
    # The module that sets these two is not loaded, and many contestants use them.
    builtins.__dict__.update(exit=sys.exit, quit=sys.exit)
    streams = (sys.stdout, sys.stderr)
    code = _guarded(lambda: exec(compile(source, NAME, "exec", dont_inherit=True), main.__dict__))
    if "threading" in sys.modules:
        _guarded(sys.modules["threading"]._shutdown)
    if "atexit" in sys.modules:
        _guarded(sys.modules["atexit"]._run_exitfuncs)
    is_flushed = _flush(sys.__dict__.get("stdout"))
    _guarded(lambda: _destroy(main))
    for stream in (sys.__dict__.get("stderr"), *streams):
        _flush(stream)
    return code if is_flushed else code or 120


def _guarded(action: Callable[[], object]) -> int:
    """Call it; the exit code that an uncaught exception gives."""
    try:
        action()
    except SystemExit as wish:
        return _exit_code(wish.code)
    except BaseException as wrong:  # noqa: BLE001  untrusted border: a program may raise anything
        trace = wrong.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        _complain(type(wrong), wrong.with_traceback(trace))
        return 1
    return 0


def _complain(kind: type[BaseException], wrong: BaseException) -> None:
    try:
        sys.excepthook(kind, wrong, wrong.__traceback__)
    except BaseException:  # noqa: BLE001  untrusted border: the hook is the program's
        sys.__excepthook__(kind, wrong, wrong.__traceback__)


def _exit_code(wish: object) -> int:
    if wish is None:
        return 0
    if isinstance(wish, int):
        return int(wish) & 0xFF
    os.write(2, f"{wish}\n".encode("utf-8", "backslashreplace"))
    return 1


def _flush(stream: Any) -> bool:
    """Write out what a stream still holds; False when that is not possible."""
    try:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    except BaseException:  # noqa: BLE001  untrusted border: the stream may be the program's
        return False
    return True


def _destroy(main: ModuleType) -> None:
    """Let go of what the program's names hold, private names first, as the interpreter does at its end."""
    names = main.__dict__
    for name in sorted(names, key=lambda name: not str(name).startswith("_")):
        if name != "__builtins__":
            names[name] = None


def _stream(descriptor: int, mode: str, errors: str, *, line_by_line: bool = False) -> io.TextIOWrapper:
    binary = os.fdopen(descriptor, mode + "b", closefd=False)
    return io.TextIOWrapper(binary, encoding="utf-8", errors=errors, line_buffering=line_by_line)
