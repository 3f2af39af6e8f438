"""The trusted side of a worker process: starts it when first needed, enforces deadlines, starts it again when it dies.

The worker is started by exec, in a session of its own, and answers any number of requests at a time. Its own deadlines
kill its children; when the worker itself falls silent it is killed whole. Safe to call from any thread. Works on Linux
and macOS.

What is not here: what is asked (`pool.py`, `custom_pool.py`).
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from zero2r1.core.errors import RewardError

Reply = Mapping[str, Any]


class Link:
    """One running worker process, the thread that feeds it and the thread that hands out its replies."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, keep_stderr: bool) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if keep_stderr else subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        self.ready = threading.Event()
        self.hello: Reply = {}
        """What the worker said when it was ready, or why it is not: `{"ready": False, "problem": ...}`."""
        self.is_dead = False
        self._pending: dict[int, SimpleQueue[Reply]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Lock()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        # A pipe to a worker that stands still fills up: only a thread of its own may wait there.
        self._writer = threading.Thread(target=self._write, name="reward-worker-requests", daemon=True)
        self._reader = threading.Thread(target=self._read, name="reward-worker-replies", daemon=True)
        self._writer.start()
        self._reader.start()

    def ask(self, number: int, request: Mapping[str, Any]) -> SimpleQueue[Reply]:
        """Send one request; the reply, or the news of the worker's death, arrives in the queue."""
        replies: SimpleQueue[Reply] = SimpleQueue()
        line = json.dumps({**request, "id": number}).encode() + b"\n"
        with self._lock:
            if self.is_dead:
                replies.put({"died": "the worker is not running"})
                return replies
            self._pending[number] = replies
        self._lines.put(line)
        return replies

    def stop(self, *, grace_s: float) -> None:
        """End the worker and everything it started; no zombie, thread or open pipe is left."""
        self._lines.put(None)
        with self._stopping:
            try:
                self.process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # not reaped yet, so the id cannot be another's by now
                self.process.wait()
            self._writer.join(timeout=5.0)
            self._reader.join(timeout=5.0)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _write(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        with suppress(OSError):  # a dead worker shows as end of file on its replies
            while (line := self._lines.get()) is not None:
                stdin.write(line)
                stdin.flush()
        with suppress(OSError):
            stdin.close()

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        for line in stdout:
            reply = json.loads(line)
            if "ready" in reply:
                self.hello = reply
                self.ready.set()
                continue
            with self._lock:
                replies = self._pending.pop(reply["id"], None)
            if replies is not None:
                replies.put(reply)
        with self._lock:
            self.is_dead = True
            orphans, self._pending = self._pending, {}
        if not self.ready.is_set():
            self.hello = {"ready": False, "problem": "it ended before it was ready"}
            self.ready.set()
        for replies in orphans.values():
            replies.put({"died": "the worker died while it judged"})


class Supervisor:
    """Keeps one worker running and asks it. Started at the first request, ended by `close()`.

    Args:
        module: what the worker runs, `python -m module arguments`.
        arguments: of the module.
        environment: the only environment variables the worker sees.
        keep_stderr: whether what it prints is shown.
        grace_s: how much later than the worker's own deadline the whole worker is given up.
        start_timeout_s: how long its imports may take.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        keep_stderr: bool,
        grace_s: float,
        start_timeout_s: float,
    ) -> None:
        self._command = (module, *arguments)
        self._environment = dict(environment)
        self._keep_stderr = keep_stderr
        self._grace_s = grace_s
        self._start_timeout_s = start_timeout_s
        self._numbers = count()
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._has_worked = False
        self._closed = threading.Event()

    def start(self) -> Reply:
        """Start the worker now and wait until it is ready, so that the first request is as fast as the others.

        Returns:
            what it said when it was ready; nothing after `close()`.

        Raises:
            RewardError: the worker cannot be started (Z142), or it says itself what is wrong.
        """
        link = self._ready_link()
        return {} if link is None else link.hello

    def ask(self, request: Mapping[str, Any], *, timeout_s: float) -> Reply:
        """The reply; or `lost` with a reason: deadline missed, crash, worker silent or dead twice, closed.

        Raises:
            RewardError: the worker could not be started in the first place.
        """
        reply = self._ask_once(request, timeout_s)
        if "died" in reply:  # not this request's doing, as a rule: one more try with a fresh process
            reply = self._ask_once(request, timeout_s)
        return {"lost": reply["died"]} if "died" in reply else reply

    def close(self) -> None:
        """End the worker for good; what is asked afterwards is lost."""
        with self._lock:
            self._closed.set()
            link, self._link = self._link, None
        if link is not None:
            link.stop(grace_s=2.0)

    def _ask_once(self, request: Mapping[str, Any], timeout_s: float) -> Reply:
        link = self._ready_link()
        if link is None:
            return {"died": "the worker was closed"}
        replies = link.ask(next(self._numbers), {**request, "timeout_s": timeout_s})
        patience_s = timeout_s + self._grace_s
        try:
            return replies.get(timeout=patience_s)
        except Empty:
            self._discard(link)
            return {"lost": f"the worker was silent for {patience_s:g} s: killed"}

    def _ready_link(self) -> Link | None:
        """The running worker, started when there is none or it died; None after `close()`."""
        with self._lock:
            if self._closed.is_set():
                return None
            stale = self._link if self._link is not None and self._link.is_dead else None
            if self._link is None or stale is not None:
                command = [sys.executable, "-P", "-m", *self._command]
                self._link = Link(command, self._environment, keep_stderr=self._keep_stderr)
            link = self._link
        if stale is not None:
            stale.stop(grace_s=0.0)
        is_ready = link.ready.wait(self._start_timeout_s)
        if not is_ready or not link.hello["ready"]:
            self._discard(link)
            if self._closed.is_set():
                return None
            if not self._has_worked:
                raise self._refusal(link.hello)
        self._has_worked = True
        return link

    def _refusal(self, hello: Reply) -> RewardError:
        """Why there is no worker."""
        if "error" in hello:
            return RewardError(**hello["error"])
        why = hello.get("problem") or f"not ready after {self._start_timeout_s:g} s"
        return RewardError("Z142", "the reward worker cannot be started", where=sys.executable, why=why)

    def _discard(self, link: Link) -> None:
        """Kill a worker that does not answer; the next call starts a fresh one."""
        with self._lock:
            if self._link is link:
                self._link = None
        link.stop(grace_s=0.0)
