"""The worker process that grades answers: math-verify, imported once, in children that die at their deadline.

Run as `python -m zero2r1.rewards.worker`. In a child: address space limited, CPU time limited, its own pipes as the
only files, dead as soon as this process dies. math-verify's own time limits are off: they are SIGALRM handlers, which
a long C call never reaches.

    in   {"id": 7, "reference": "\\\\frac{1}{2}", "answer": "0.5", "timeout_s": 2.0}
    out  {"ready": true} once, then {"id": 7, "verdict": "right" | "wrong" | "error", "note": "..."}

What is not here: the loop and the deadlines (`forking.py`), and imports of the rest of the package, so that a start
costs little.
"""

import json
import logging
import os
import signal
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zero2r1.rewards.forking import Answer, Confinement, Server, write_all
from zero2r1.rewards.math_judge import Judge, load_judge

HEADROOM_BYTES = 96 * 2**20
"""Ours: address space a child may take beyond what it was born with."""


def graded(judge: Judge) -> Answer:
    """A judge of two expressions as an answer to a request."""

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        verdict, note = judge(request["reference"], request["answer"])
        return {"verdict": verdict, "note": note}

    return answer


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
        Server(graded(judge), Confinement(headroom_bytes=HEADROOM_BYTES)).run()
    return 0


def say(reply: Mapping[str, Any]) -> None:
    """One JSON line to the trusted side."""
    write_all(1, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    os._exit(main())  # nothing is buffered, and taking sympy down would cost a third of a second
