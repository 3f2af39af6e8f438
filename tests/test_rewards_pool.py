"""The answer worker: right verdicts, deadlines that hold, crashes that cost one answer, nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from killing import members_of

from zero2r1.core.errors import RewardError
from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards import link as link_module
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.pool import WorkerPool

TIMEOUT_S = 2.0
PATHOLOGICAL = (
    "5^{5^{5^{5^{5}}}-4}", "3^{1000000000}", "3^{10^9}", "20000000!", "10^{10^{10}}", "2^{2^{2^{2^{2^{2}}}}}",
    r"\sin(\cos(\tan(10^{10^{10}})))", r"(10^{10^{8}}+1)\cdot(10^{10^{8}}-1)", r"\sum_{k=1}^{10^{9}} k^{k}",
    r"\prod_{k=1}^{10^{6}} k", r"\binom{10^9}{5\cdot 10^8}", r"\log_{2}(3^{10^9})", "e^{e^{e^{e^{e}}}}",
    "(x+y+z+w)^{200}", "x^{x^{x^{x^{x^{x^{x}}}}}}", "{" * 90 + "1" + "}" * 90, "{" * 3000 + "1" + "}" * 3000,
    "9" * 200_000,
    r"\frac{1}{" * 20 + "2" + "}" * 20, "\x00\ud800 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(TIMEOUT_S)
    pool.start()
    yield pool
    pool.close()


def worker_pid(pool: WorkerPool) -> int:
    assert pool._link is not None
    return pool._link.process.pid


def children_of(pid: int) -> list[str]:
    """State letters of the direct children of a process, e.g. ["S", "Z"]."""
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            states.append(state)
    return states


@pytest.mark.parametrize(
    ("reference", "answer", "verdict"),
    [
        (r"2\sqrt{3}", r"\sqrt{12}", Verdict.RIGHT),
        (r"x^2+2x+1", "(x+1)^2", Verdict.RIGHT),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", Verdict.RIGHT),
        ("(1,2)", "(1, 2)", Verdict.RIGHT),
        ("y=2x+1", "2y=4x+2", Verdict.RIGHT),
        ("(1,2)", "(2,1)", Verdict.WRONG),
        (r"2\sqrt{3}", "3.464102", Verdict.WRONG),  # math-verify alone rounds to 6 decimals and takes it
        (r"2\sqrt{3}", r"\begin{cases}", Verdict.WRONG),
        (r"\begin{cases", "x", Verdict.ERROR),
    ],
)
def test_expressions_are_compared_by_value(pool, reference, answer, verdict):
    result = pool.compare(reference, answer)
    assert result.verdict is verdict
    assert result.note or verdict is Verdict.RIGHT


def test_pathological_answers_from_nine_threads_end_in_time_and_leave_the_pool_whole(pool):
    def judged(answer):
        start_s = time.monotonic()
        return pool.compare(r"2\sqrt{3}", answer), time.monotonic() - start_s

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(judged, answer) for answer in PATHOLOGICAL[1:]]
        in_main_thread = judged(PATHOLOGICAL[0])
        results = [in_main_thread, *(future.result() for future in futures)]
    assert max(seconds for _, seconds in results) <= TIMEOUT_S + 1.0
    assert not any(result.verdict is Verdict.RIGHT for result, _ in results)
    assert sum("killed" in result.note for result, _ in results) >= 8  # the test did meet answers that hang
    start_s = time.monotonic()
    assert pool.compare("x+1", "1+x").verdict is Verdict.RIGHT
    assert time.monotonic() - start_s < 1.0
    assert "Z" not in children_of(worker_pid(pool))


def test_answers_over_the_cap_and_references_over_theirs_never_reach_the_worker(pool):
    assert pool.compare("x", "x" * 201).verdict is Verdict.WRONG
    assert pool.compare("x" * 2001, "x").verdict is Verdict.ERROR


def test_the_rules_and_the_worker_together_judge_an_expression(pool):
    for answer, verdict in (("x = sqrt(12)", Verdict.RIGHT), (r"\pm 2\sqrt{3}", Verdict.WRONG)):
        assert grade(answer, r"2\sqrt{3}", AnswerKind.EXPRESSION, compare=pool.compare).verdict is verdict


def test_a_killed_worker_is_replaced_and_the_answer_is_asked_again():
    pool = WorkerPool(TIMEOUT_S)
    try:
        pool.start()
        first = worker_pid(pool)
        os.kill(first, signal.SIGKILL)
        assert pool.compare("x+1", "1+x").verdict is Verdict.RIGHT
        assert worker_pid(pool) != first
        assert not Path(f"/proc/{first}").exists()  # reaped
    finally:
        pool.close()


def test_a_silent_worker_is_given_up_within_the_bound_and_replaced():
    pool = WorkerPool(0.5)
    try:
        pool.start()
        os.kill(worker_pid(pool), signal.SIGSTOP)
        start_s = time.monotonic()
        result = pool.compare("x+1", "1+x")
        assert time.monotonic() - start_s <= 0.5 + 1.0
        assert result.verdict is Verdict.ERROR
        assert "silent" in result.note
        assert pool.compare("x+1", "1+x").verdict is Verdict.RIGHT
    finally:
        pool.close()


def test_closing_ends_the_process_and_later_comparisons_are_errors():
    pool = WorkerPool(TIMEOUT_S)
    pool.close()  # never started: nothing to end
    pool = WorkerPool(TIMEOUT_S)
    pool.start()
    pid = worker_pid(pool)
    pool.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not any(thread.name == "reward-worker-replies" and thread.is_alive() for thread in own_threads())
    assert pool.compare("x", "x").verdict is Verdict.ERROR


def own_threads() -> list[threading.Thread]:
    """Reply threads whose worker is gone would show here; the module's shared pool has one of its own."""
    shared = [thread for thread in threading.enumerate() if thread.name == "reward-worker-replies"]
    return shared[1:]


def test_a_worker_that_cannot_start_is_an_error_with_a_code(monkeypatch):
    monkeypatch.setattr(link_module.sys, "executable", "/bin/false")
    with pytest.raises(RewardError, match="Z142"):
        WorkerPool(TIMEOUT_S).start()


ORPHAN = """
import os, signal, threading, time
from zero2r1.rewards.pool import WorkerPool
pool = WorkerPool(60.0)
pool.start()
threading.Thread(target=pool.compare, args=("2\\\\sqrt{3}", "3^{10^9}"), daemon=True).start()
time.sleep(0.3)
print(pool._link.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_nothing_lives_on_when_the_trainer_is_killed(root):
    trainer = subprocess.run([sys.executable, "-c", ORPHAN], cwd=root, capture_output=True, text=True, check=False)
    assert trainer.returncode == -signal.SIGKILL
    session = int(trainer.stdout)
    deadline_s = time.monotonic() + 3.0
    while time.monotonic() < deadline_s and members_of(session):
        time.sleep(0.05)
    assert members_of(session) == []
