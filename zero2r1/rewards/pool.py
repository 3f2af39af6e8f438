"""Comparing expressions by math-verify, in a process that can be killed.

One worker process (`worker.py`) grades any number of answers at a time in children of its own; each child that misses
its deadline is killed with SIGKILL, because a big-integer computation holds the interpreter lock and no thread or
signal handler can interrupt it. Safe to call from any thread.

What is not here: any grading, and the process itself (`link.py`). And no sandbox: the worker computes on answers, it
never runs code that a model wrote.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from zero2r1.core.types import Verdict
from zero2r1.rewards.link import Supervisor
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


class WorkerPool(Supervisor):
    """Compares expressions in a process that can be killed. Started at the first call, ended by `close()`.

    Args:
        timeout_s: seconds one comparison may take; a call returns within `timeout_s + 1` once the worker runs.
        max_at_once: comparisons at a time; further callers wait for their turn.
    """

    def __init__(self, timeout_s: float | int = 5.0, *, max_at_once: int = MAX_AT_ONCE) -> None:
        package_root = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH", "")
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(part for part in (package_root, inherited) if part)
        super().__init__(
            "zero2r1.rewards.worker",
            environment=environment,
            keep_stderr=False,
            grace_s=GRACE_S,
            start_timeout_s=START_TIMEOUT_S,
        )
        self.timeout_s = float(timeout_s)
        self._turns = threading.BoundedSemaphore(max_at_once)

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
            reply = self.ask({"reference": reference, "answer": answer}, timeout_s=self.timeout_s)
        if "lost" in reply:
            return Grade(Verdict.ERROR, reply["lost"])
        return Grade(Verdict(reply["verdict"]), reply["note"])
