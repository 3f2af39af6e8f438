"""The trusted side of the answer worker: starts it when first needed, enforces deadlines, starts it again when it dies.

One worker process (`worker.py`, started by exec, its own session) grades any number of answers at a time in children of
its own; each child that misses its deadline is killed with SIGKILL, because a big-integer computation holds the
interpreter lock and no thread or signal handler can interrupt it. Safe to call from any thread.

What is not here: any grading. And no sandbox: the worker computes on answers, it never runs code that a model wrote.
Works on Linux and macOS.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

from zero2r1.core.errors import RewardError
from zero2r1.core.types import Verdict
from zero2r1.rewards.numerals import MAX_ANSWER_CHARS

GRACE_S = 0.75
"""Ours: how much later than the worker's own deadline the whole worker is given up."""
START_TIMEOUT_S = 60.0
"""Ours: importing math-verify takes 0.4 s on an idle machine."""
MAX_AT_ONCE = 9
"""Ours: answers graded at a time; with 96 MiB each this stays below 1 GiB."""
MAX_REFERENCE_CHARS = 2000
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "LANG")
"""The only environment variables the worker sees."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict on one answer and, unless it is right, the reason."""

    verdict: Verdict
    note: str = ""


class _Link:
    """One running worker process and the thread that hands out its replies."""

    def __init__(self) -> None:
        package_root = str(Path(__file__).resolve().parents[2])
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        inherited = os.environ.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(part for part in (package_root, inherited) if part)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zero2r1.rewards.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.ready = threading.Event()
        self.start_problem = ""
        self.is_dead = False
        self._pending: dict[int, SimpleQueue[Mapping[str, str]]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="answer-worker-replies", daemon=True)
        self._reader.start()

    def ask(self, number: int, request: Mapping[str, object]) -> SimpleQueue[Mapping[str, str]]:
        """Send one request; the reply, or the news of the worker's death, arrives in the queue."""
        replies: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        line = json.dumps({**request, "id": number}).encode() + b"\n"
        with self._lock:
            stdin = self.process.stdin
            if self.is_dead or stdin is None or stdin.closed:
                replies.put({"died": "the answer worker is not running"})
                return replies
            self._pending[number] = replies
            try:
                stdin.write(line)
                stdin.flush()
            except OSError:
                self._pending.pop(number)
                replies.put({"died": "the answer worker is not running"})
        return replies

    def stop(self, *, grace_s: float) -> None:
        """End the worker and everything it started; no zombie and no open pipe is left."""
        with self._lock:
            if self.process.stdin is not None:
                with suppress(OSError):
                    self.process.stdin.close()
        with self._stopping:
            try:
                self.process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # not reaped yet, so the id cannot be another's by now
                self.process.wait()
            self._reader.join(timeout=5.0)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        for line in stdout:
            reply = json.loads(line)
            if "ready" in reply:
                self.start_problem = reply.get("problem", "")
                self.ready.set()
                continue
            with self._lock:
                replies = self._pending.pop(reply["id"], None)
            if replies is not None:
                replies.put({"verdict": reply["verdict"], "note": reply["note"]})
        with self._lock:
            self.is_dead = True
            orphans, self._pending = self._pending, {}
        if not self.ready.is_set():
            self.start_problem = "it ended before it was ready"
            self.ready.set()
        for replies in orphans.values():
            replies.put({"died": "the answer worker died while grading"})


class WorkerPool:
    """Compares expressions in a process that can be killed. Started at the first call, ended by `close()`.

    Args:
        timeout_s: seconds one comparison may take; a call returns within `timeout_s + 1` once the worker runs.
        max_at_once: comparisons at a time; further callers wait for their turn.
    """

    def __init__(self, timeout_s: float | int = 5.0, *, max_at_once: int = MAX_AT_ONCE) -> None:
        self.timeout_s = float(timeout_s)
        self._turns = threading.BoundedSemaphore(max_at_once)
        self._numbers = count()
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._has_worked = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start the worker now and wait until it is ready, so that the first comparison is as fast as the others.

        Raises:
            RewardError: the worker cannot be started (Z142).
        """
        self._ready_link()

    def compare(self, reference: str, answer: str) -> Grade:
        """Whether two expressions are equal by math-verify, the reference first.

        Returns:
            right, wrong, or error with a reason: deadline missed, worker died, reference not readable.

        Raises:
            RewardError: the worker could not be started in the first place (Z142).
        """
        if len(reference) > MAX_REFERENCE_CHARS:
            return Grade(Verdict.ERROR, f"the reference is longer than {MAX_REFERENCE_CHARS} characters")
        if len(answer) > MAX_ANSWER_CHARS:
            return Grade(Verdict.WRONG, f"the answer is longer than {MAX_ANSWER_CHARS} characters")
        with self._turns:
            reply = self._ask(reference, answer)
            if "died" in reply:  # not this answer's doing, as a rule: one more try with a fresh process
                reply = self._ask(reference, answer)
        if "verdict" in reply:
            return Grade(Verdict(reply["verdict"]), reply["note"])
        return Grade(Verdict.ERROR, reply["died"])

    def close(self) -> None:
        """End the worker for good; comparisons asked for afterwards are errors."""
        with self._lock:
            self._closed.set()
            link, self._link = self._link, None
        if link is not None:
            link.stop(grace_s=2.0)

    def _ask(self, reference: str, answer: str) -> Mapping[str, str]:
        link = self._ready_link()
        if link is None:
            return {"died": "the answer worker was closed"}
        number = next(self._numbers)
        replies = link.ask(number, {"reference": reference, "answer": answer, "timeout_s": self.timeout_s})
        patience_s = self.timeout_s + GRACE_S
        try:
            return replies.get(timeout=patience_s)
        except Empty:
            self._discard(link)
            return {"verdict": "error", "note": f"the answer worker was silent for {patience_s:g} s: killed"}

    def _ready_link(self) -> _Link | None:
        """The running worker, started when there is none or it died; None after `close()`."""
        with self._lock:
            if self._closed.is_set():
                return None
            stale = self._link if self._link is not None and self._link.is_dead else None
            if self._link is None or stale is not None:
                self._link = _Link()
            link = self._link
        if stale is not None:
            stale.stop(grace_s=0.0)
        if not link.ready.wait(START_TIMEOUT_S) or link.start_problem:
            self._discard(link)
            if self._closed.is_set():
                return None
            if not self._has_worked:
                why = link.start_problem or f"not ready after {START_TIMEOUT_S:g} s"
                raise RewardError("Z142", "the answer worker cannot be started", where=sys.executable, why=why)
        self._has_worked = True
        return link

    def _discard(self, link: _Link) -> None:
        """Kill a worker that does not answer; the next call starts a fresh one."""
        with self._lock:
            if self._link is link:
                self._link = None
        link.stop(grace_s=0.0)
