"""The worker process: reads comparisons as JSON lines, grades each in a child that is killed at its deadline.

Run as `python -m zero2r1.rewards.worker`. math-verify is imported once; children are forked from this process, which
has one thread and no file of the trainer open, so a killed child is replaced in milliseconds. In a child: address space
limited, CPU time limited, its own pipes as the only files, dead as soon as this process dies. math-verify's own time
limits are off: they are SIGALRM handlers, which a long C call never reaches.

    in   {"id": 7, "reference": "\\\\frac{1}{2}", "answer": "0.5", "timeout_s": 2.0}
    out  {"ready": true} once, then {"id": 7, "verdict": "right" | "wrong" | "error", "note": "..."}

What is not here: imports of the rest of the package, so that a start costs little.
"""

import ctypes
import json
import logging
import os
import resource
import selectors
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from time import monotonic

MEMORY_HEADROOM_BYTES = 96 * 2**20
"""Ours: address space a child may take beyond what it was born with."""
MAX_ANSWERS_A_CHILD = 1000
"""Ours: caches inside sympy grow; a fresh child is cheap."""
PR_SET_PDEATHSIG = 1
DECIMALS = 10
"""Ours: a decimal equals an irrational reference only to this many digits; math-verify's own 6 would take 1.414214."""

Judge = Callable[[str, str], tuple[str, str]]


def load_judge() -> Judge:
    """math-verify as a function (reference, answer) -> (verdict, note). Imports it."""
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig(boxed_match_priority=0)]

    def read(text: str) -> list[object]:
        return parse(f"\\boxed{{{text}}}", extraction_config=latex, fallback_mode="no_fallback", parsing_timeout=None)

    def judge(reference: str, answer: str) -> tuple[str, str]:
        gold = read(reference)
        if not gold:
            return "error", f"the reference cannot be read as an expression: {reference[:80]!r}"
        said = read(answer)
        if not said:
            return "wrong", "the answer cannot be read as an expression"
        is_equal = verify(gold, said, float_rounding=DECIMALS, timeout_seconds=None, raise_on_error=True)
        return ("right", "") if is_equal else ("wrong", "not equal to the reference")

    judge("x^2 + 2x + 1", "(x + 1)^2")  # fills the parser's caches once, before any child is born
    return judge


class Child:
    """One forked grader with a pipe in each direction."""

    def __init__(self, judge: Judge) -> None:
        request_end, self.requests = os.pipe()
        self.replies, reply_end = os.pipe()
        self.buffer = b""
        self.num_answers = 0
        self.request_id = -1
        self.deadline_s = 0.0
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(request_end, 0)
            os.dup2(reply_end, 1)
            serve(judge)
            os._exit(0)
        os.close(request_end)
        os.close(reply_end)

    def ask(self, line: bytes, request_id: int, timeout_s: float) -> None:
        self.request_id = request_id
        self.deadline_s = monotonic() + timeout_s
        self.num_answers += 1
        with suppress(BrokenPipeError):  # a dead child shows as end of file on its replies
            os.write(self.requests, line)

    def end(self) -> int:
        """Kill, reap, close; the wait status."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.requests)
        os.close(self.replies)
        return status


def serve(judge: Judge) -> None:
    """Life of a child: one line in, one line out, until the pipe ends. Ends itself after running out of memory."""
    os.closerange(2, 4096)
    limit_memory_and_lifetime()
    requests = os.fdopen(0, "rb")
    for line in requests:
        request = json.loads(line)
        used_s = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = ceil(used_s.ru_utime + used_s.ru_stime + request["timeout_s"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
        is_exhausted = False
        try:
            verdict, note = judge(request["reference"], request["answer"])
        except MemoryError:
            verdict, note, is_exhausted = "error", "out of memory", True
        except RecursionError:
            verdict, note = "error", "too deeply nested"
        except Exception as problem:  # noqa: BLE001  untrusted border: the failure becomes a counted verdict
            verdict, note = "error", f"{type(problem).__name__}: {str(problem)[:200]}"
        os.write(1, json.dumps({"verdict": verdict, "note": note}).encode() + b"\n")
        if is_exhausted:
            return


def limit_memory_and_lifetime() -> None:
    """Address space, no core files, and death with the parent (where the system offers them)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        os._exit(1)
    with open("/proc/self/statm", encoding="ascii") as statm:
        address_space = int(statm.read().split()[0]) * resource.getpagesize()
    limit = address_space + MEMORY_HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Server:
    """The loop of the worker process: requests in, children busy or idle, deadlines."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ, None)
        self.buffer = b""
        self.idle: deque[Child] = deque()
        self.busy: list[Child] = []

    def run(self) -> None:
        """Until standard input ends; then every child is killed."""
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
                self.lose(child, "no verdict before the deadline: killed")
        for child in [*self.busy, *self.idle]:
            child.end()

    def read_requests(self) -> bool:
        data = os.read(0, 65536)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            child = self.idle.popleft() if self.idle else self.born()
            self.busy.append(child)
            child.ask(line + b"\n", request["id"], request["timeout_s"])
        return bool(data)

    def born(self) -> Child:
        child = Child(self.judge)
        self.selector.register(child.replies, selectors.EVENT_READ, child)
        return child

    def read_reply(self, child: Child) -> None:
        data = os.read(child.replies, 65536)
        child.buffer += data
        if not data:
            if child in self.busy:
                self.lose(child, "")
            else:
                self.idle.remove(child)
                self.bury(child)
            return
        if not child.buffer.endswith(b"\n"):
            return
        reply, child.buffer = json.loads(child.buffer), b""
        self.busy.remove(child)
        say({**reply, "id": child.request_id})
        if child.num_answers >= MAX_ANSWERS_A_CHILD:
            self.bury(child)
        else:
            self.idle.appendleft(child)

    def lose(self, child: Child, note: str) -> None:
        """Answer for a child that cannot."""
        self.busy.remove(child)
        status = self.bury(child)
        crashed = f"the grader crashed (signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else "the grader ended"
        say({"id": child.request_id, "verdict": "error", "note": note or crashed})

    def bury(self, child: Child) -> int:
        self.selector.unregister(child.replies)
        return child.end()


def say(reply: dict[str, object]) -> None:
    """One JSON line to the trusted side."""
    os.write(1, json.dumps(reply).encode() + b"\n")


def main() -> int:
    """Import the grader, say ready, serve."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        judge = load_judge()
    except ImportError as problem:
        say({"ready": False, "problem": f"math-verify cannot be imported: {problem}"})
        return 1
    say({"ready": True})
    with suppress(BrokenPipeError):
        Server(judge).run()
    return 0


if __name__ == "__main__":
    os._exit(main())  # nothing is buffered, and taking sympy down would cost a third of a second
