"""Our end of the line: peers as processes of other environments, and turns taken one after another.

    with Peer([python, script], settings={...}) as peer:
        answer = peer.ask({...})

While one side works the others must be idle. That is measured, not assumed: `alternate` adds up the processor time that
each side spent outside its own turns.

What it does not do: install anything. `interpreter` says None where a peer's environment is absent, and the caller
reports that. Linux only: processor time of other processes is read from /proc.
"""

import json
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).resolve().parent
GRACE_S = 20.0
"""Ours: a peer whose requests ended has this long to leave by itself."""


def interpreter(option: str | None, *, variable: str, default: str) -> Path | None:
    """The Python of a peer's environment, or None when there is none.

    The option first, then the environment variable, then `default` (relative to the repository). The path is not
    resolved: the Python of a virtual environment is a link, and what it leads to knows no environment.
    """
    path = ROOT / (option or os.environ.get(variable) or default)
    return path if path.is_file() else None


class Peer:
    """A process that answers. It is in a session of its own, which ends with it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        settings: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        limit_s: float = 900.0,
    ) -> None:
        """Starts it and waits until it is ready.

        Args:
            settings: the first request; what it answers is `about`.
            environment: variables on top of this process's own.
            limit_s: seconds an answer may take.
        """
        self._limit_s = limit_s
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **(environment or {})},
            start_new_session=True,
        )
        try:
            self.about = self.ask(settings)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request and its answer. RuntimeError, with the end of what the peer complained of, when it is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        timer = threading.Timer(self._limit_s, self._kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
            text = stdout.readline()
        finally:
            timer.cancel()
        if not text:
            with suppress(subprocess.TimeoutExpired):  # it may have closed its end and live on
                self._process.wait(GRACE_S)
            self._kill()
            code = self._process.wait()
            self._errors.seek(0)
            complaint = self._errors.read()[-3000:]
            raise RuntimeError(f"the peer ended with code {code} (limit {self._limit_s:g} s):\n{complaint}")
        answer = json.loads(text)
        assert isinstance(answer, dict)
        return answer

    def cpu_s(self) -> float:
        """Processor seconds that all living processes of the peer's session have used."""
        return sum(_cpu_s_of_session(self._process.pid))

    def close(self) -> None:
        """Ends the peer and whatever it started."""
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _cpu_s_of_session(session: int) -> list[float]:
    """User and system time of each process of a session, in seconds."""
    tick = os.sysconf("SC_CLK_TCK")
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything: state, parent, group, session, ..., utime and stime.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                found.append((int(fields[11]) + int(fields[12])) / tick)
    return found


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of those that take turns."""

    turn: Callable[[int], dict[str, Any]]
    """Does the work of turn i; the answer has `seconds` and whatever else describes it."""
    cpu_s: Callable[[], float] = time.process_time
    """Processor seconds used so far; of this process unless the side is a peer."""


@dataclass(kw_only=True)
class Rounds:
    """What came of alternating."""

    turns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By side, in the order they were taken, without the warm-up."""
    idle_share: dict[str, float] = field(default_factory=dict)
    """By side: processor seconds outside its turns, over the seconds of the others' turns. 0: it was idle."""


def alternate(sides: Mapping[str, Side], *, pairs: int, limit_s: float = math.inf) -> Rounds:
    """Each side warms up with one turn that is not counted, then all take `pairs` turns, in an order that reverses.

    After `limit_s` seconds no further turns begin, but all take at least one.
    """
    rounds = Rounds(turns={name: [] for name in sides})
    started = time.perf_counter()
    for side in sides.values():
        side.turn(-1)
    idle_cpu, idle_s = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for i in range(pairs):
        if i and time.perf_counter() - started > limit_s:
            break
        names = list(sides) if i % 2 == 0 else list(reversed(sides))
        for name in names:
            others = [other for other in sides if other != name]
            before = {other: sides[other].cpu_s() for other in others}
            began = time.perf_counter()
            rounds.turns[name].append(sides[name].turn(i))
            wall = time.perf_counter() - began
            for other in others:
                idle_cpu[other] += sides[other].cpu_s() - before[other]
                idle_s[other] += wall
    rounds.idle_share = {name: round(idle_cpu[name] / idle_s[name], 3) for name in sides if idle_s[name]}
    return rounds
