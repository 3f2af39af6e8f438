"""The loop inside the worker process, driven by a judge that misbehaves on demand."""

import json
import subprocess
import sys

import pytest

WORKER = """
import os, signal, sys, time
from zero2r1.rewards import forking, worker

forking.MAX_ANSWERS_A_CHILD = 3

def judge(reference, answer):
    if answer == "sleep":
        time.sleep(60)
    if answer == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if answer == "exit":
        os._exit(3)
    if answer == "memory":
        return "right", str(len(bytearray(512 * 2**20)))
    if answer == "nest":
        return judge(reference, answer)
    if answer == "raise":
        raise ArithmeticError("no such luck")
    if answer == "files":
        return "right", " ".join(sorted(os.listdir("/proc/self/fd")))
    if answer == "signals":
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            pass
    return "right", str(os.getpid())

forking.Server(worker.graded(judge), forking.Confinement(headroom_bytes=96 * 2**20)).run()
"""


@pytest.fixture
def ask(root):
    """Grade a list of answers, all sent at once; replies by answer index."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def send(answers, timeout_s=5.0):
        for number, answer in enumerate(answers):
            request = {"id": number, "reference": "", "answer": answer, "timeout_s": timeout_s}
            process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        replies = [json.loads(process.stdout.readline()) for _ in answers]
        return [reply for _, reply in sorted((reply["id"], reply) for reply in replies)]

    yield send
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


def test_each_misfortune_costs_one_answer_and_says_what_it_was(ask):
    expected = {
        "sleep": "no verdict within 1 s: killed",
        "signals": "no verdict within 1 s: killed",
        "crash": "the grader crashed (signal 11)",
        "exit": "the grader ended",
        "memory": "out of memory",
        "nest": "too deeply nested",
        "raise": "ArithmeticError: no such luck",
    }
    replies = ask([*expected, "fine"], timeout_s=1.0)
    assert [reply["lost"] for reply in replies[:-1]] == list(expected.values())
    assert replies[-1]["verdict"] == "right"
    assert ask(["fine"])[0]["verdict"] == "right"


def test_answers_are_graded_side_by_side_and_slow_ones_delay_nobody(ask):
    assert ["lost" in reply for reply in ask(["sleep", "fine"], timeout_s=0.5)] == [True, False]


def test_a_child_is_retired_after_its_share_of_answers(ask):
    pids = [ask(["fine"])[0]["note"] for _ in range(7)]
    assert pids[0] == pids[1] == pids[2] != pids[3]
    assert len(set(pids)) == 3  # 3 + 3 + 1


def test_a_child_has_no_file_but_its_own_pipes(ask):
    assert ask(["files"])[0]["note"] in ("0 1 2", "0 1 2 3")  # what lists the directory is open, too


def test_a_child_that_ran_out_of_memory_is_not_asked_again():
    program = """
from zero2r1.rewards.forking import Confinement, Server
def answer(request):
    if request["boom"]:
        raise MemoryError
    return {"said": "fine"}
Server(answer, Confinement(headroom_bytes=None)).run()
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with worker:
        for number in range(6):
            worker.stdin.write(json.dumps({"id": number, "timeout_s": 10.0, "boom": number % 2 == 0}) + "\n")
            reply = json.loads(worker.stdout.readline())
            expected = {"lost": "out of memory"} if number % 2 == 0 else {"said": "fine"}
            assert reply == expected | {"id": number}
        worker.stdin.close()
