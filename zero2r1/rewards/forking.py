"""The loop of a worker process: requests as JSON lines in, each answered in a forked child with a deadline.

What is costly to import is imported once, before the loop; children are forked from a process with one thread, so a
killed child is replaced in milliseconds. A child answers one request at a time and is used again. One that misses its
deadline is killed with SIGKILL, which a long C call, a blocked signal and a stopped process obey as well.

    in   {"id": 7, "timeout_s": 2.0, ...}
    out  {"id": 7, ...} as the answer function says, or {"id": 7, "lost": "why there is no answer"}

What is not here: what is answered (`worker.py`, `custom_worker.py`), who asks (`link.py`), and a sandbox: children
run grading code, never code that a model wrote. Imports of the rest of the package, so that a start costs little.
"""

import ctypes
import json
import os
import resource
import selectors
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any

MAX_ANSWERS_A_CHILD = 1000
"""Ours: caches inside sympy grow; a fresh child is cheap."""
PR_SET_PDEATHSIG = 1

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From a request to a reply. What it raises becomes a lost request with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a child may use."""

    headroom_bytes: int | None = None
    """Address space beyond what it was born with; None sets no limit. With a limit it also loses every file but its
    two pipes, and CPU time ends a second after its deadline."""
    niceness: int = 0
    """How far the child stands back for the trainer, 0 to 19."""


class Child:
    """One forked process with a pipe in each direction and a process group of its own."""

    def __init__(self, answer: Answer, confinement: Confinement, inherited: Sequence[int]) -> None:
        request_end, self.requests = os.pipe()
        self.replies, reply_end = os.pipe()
        self.buffer = b""
        self.num_answers = 0
        self.request_id = -1
        self.timeout_s = self.deadline_s = 0.0
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            for descriptor in (*inherited, self.requests, self.replies):
                os.close(descriptor)
            serve(answer, confinement, request_end, reply_end)
            os._exit(0)
        with suppress(ProcessLookupError, PermissionError):  # the child does the same; whoever comes first
            os.setpgid(self.pid, self.pid)
        os.close(request_end)
        os.close(reply_end)

    def ask(self, line: bytes, request_id: int, timeout_s: float) -> None:
        """Hand over a request; its deadline starts now."""
        self.request_id = request_id
        self.timeout_s = timeout_s
        self.deadline_s = monotonic() + timeout_s
        self.num_answers += 1
        with suppress(BrokenPipeError):  # a dead child shows as end of file on its replies
            write_all(self.requests, line)

    def end(self) -> int:
        """Kill it and what it started, reap, close; the wait status."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.requests)
        os.close(self.replies)
        return status


def serve(answer: Answer, confinement: Confinement, request_end: int, reply_end: int) -> None:
    """Life of a child: one line in, one line out, until the pipe ends. Ends itself after running out of memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    die_with_parent()
    if confinement.headroom_bytes is not None:
        os.dup2(request_end, 0)
        os.dup2(reply_end, 1)
        request_end, reply_end = 0, 1
        os.closerange(2, 4096)
        limit_memory(confinement.headroom_bytes)
    if confinement.niceness:
        os.nice(confinement.niceness)
    own_pid = os.getpid()
    with os.fdopen(request_end, "rb") as requests:
        for line in requests:
            request = json.loads(line)
            if confinement.headroom_bytes is not None:
                limit_cpu_time(request["timeout_s"])
            reply, is_exhausted = _answered(answer, request)
            if os.getpid() != own_pid:
                os._exit(0)  # a fork made by the answer function came back here: only the original may speak
            write_all(reply_end, json.dumps(reply).encode() + b"\n")
            if is_exhausted:
                return


def _answered(answer: Answer, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The reply, and whether the child should make room for a fresh one."""
    try:
        return answer(request), False
    except MemoryError:
        return {"lost": "out of memory", "is_last": True}, True
    except RecursionError:
        return {"lost": "too deeply nested"}, False
    except Exception as problem:  # noqa: BLE001  untrusted border: the failure becomes a counted verdict
        return {"lost": f"{type(problem).__name__}: {str(problem)[:200]}"}, False


def die_with_parent() -> None:
    """SIGKILL for this process as soon as its parent ends (Linux; elsewhere the end of its pipe ends an idle one)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        os._exit(1)


def limit_memory(headroom_bytes: int) -> None:
    """Limits the address space to what it is now plus the headroom, in bytes (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    with open("/proc/self/statm", encoding="ascii") as statm:
        address_space = int(statm.read().split()[0]) * resource.getpagesize()
    limit = address_space + headroom_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_cpu_time(timeout_s: float) -> None:
    """CPU time for one more request: what was used, the time limit, and a second."""
    used_s = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = ceil(used_s.ru_utime + used_s.ru_stime + timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))


class Server:
    """Requests in, children busy or idle, deadlines.

    Args:
        answer: runs in the children.
        confinement: of the children.
        requests: file descriptor that requests are read from.
        replies: file descriptor that replies are written to.
    """

    def __init__(self, answer: Answer, confinement: Confinement, *, requests: int = 0, replies: int = 1) -> None:
        self.answer = answer
        self.confinement = confinement
        self.requests = requests
        self.replies = replies
        self.selector = selectors.SelectSelector() if sys.platform == "darwin" else selectors.PollSelector()
        self.selector.register(requests, selectors.EVENT_READ, None)
        self.buffer = b""
        self.idle: deque[Child] = deque()
        self.busy: list[Child] = []

    def run(self) -> None:
        """Until the requests end; then every child is killed."""
        is_open = True
        while is_open:
            now_s = monotonic()
            wait_s = min((child.deadline_s - now_s for child in self.busy), default=None)
            for key, _ in self.selector.select(None if wait_s is None else max(0.0, wait_s)):
                if key.data is None:
                    is_open = self.read_requests()
                else:
                    self.read_reply(key.data)
            now_s = monotonic()
            for child in [child for child in self.busy if child.deadline_s <= now_s]:
                self.lose(child, f"no verdict within {child.timeout_s:g} s: killed")
        for child in [*self.busy, *self.idle]:
            child.end()

    def read_requests(self) -> bool:
        """Hands whole lines to idle or new children; False at the end of the requests."""
        data = os.read(self.requests, 65536)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            child = self.idle.popleft() if self.idle else self.born()
            self.busy.append(child)
            child.ask(line + b"\n", request["id"], request["timeout_s"])
        return bool(data)

    def born(self) -> Child:
        """A new child. It closes the pipes of its siblings: each must end when this process does."""
        others = [end for child in (*self.busy, *self.idle) for end in (child.requests, child.replies)]
        child = Child(self.answer, self.confinement, [self.requests, self.replies, *others])
        self.selector.register(child.replies, selectors.EVENT_READ, child)
        return child

    def read_reply(self, child: Child) -> None:
        """Passes on a whole reply; a child that ended, or that speaks without being asked, is buried."""
        data = os.read(child.replies, 65536)
        child.buffer += data
        if child not in self.busy:
            self.idle.remove(child)
            self.bury(child)
            return
        if not data:
            self.lose(child, "")
            return
        if not child.buffer.endswith(b"\n"):
            return
        reply, child.buffer = json.loads(child.buffer), b""
        is_last = reply.pop("is_last", False)  # it is ending: the next request must not be given to it
        self.busy.remove(child)
        self.say({**reply, "id": child.request_id})
        if is_last or child.num_answers >= MAX_ANSWERS_A_CHILD:
            self.bury(child)
        else:
            self.idle.appendleft(child)

    def lose(self, child: Child, note: str) -> None:
        """Answer for a child that cannot."""
        self.busy.remove(child)
        status = self.bury(child)
        crashed = f"the grader crashed (signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else "the grader ended"
        self.say({"id": child.request_id, "lost": note or crashed})

    def bury(self, child: Child) -> int:
        """No longer listen to a child, and end it."""
        self.selector.unregister(child.replies)
        return child.end()

    def say(self, reply: Mapping[str, Any]) -> None:
        """One JSON line to the side that asks."""
        write_all(self.replies, json.dumps(reply).encode() + b"\n")


def write_all(descriptor: int, data: bytes) -> None:
    """Every byte, however little the pipe takes at a time."""
    while data:
        data = data[os.write(descriptor, data) :]
