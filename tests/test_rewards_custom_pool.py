"""A user's rewards in processes: what crosses the border, deadlines, crashes, groups, and nothing left behind."""

import os
import signal
import threading
import time

import pytest
from killing import members_of
from test_rewards_custom import completion, prompt

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import RewardError
from zero2r1.core.types import Verdict
from zero2r1.rewards.base import RewardConfig, make_reward
from zero2r1.rewards.custom import Opinion
from zero2r1.rewards.custom_pool import CustomPool
from zero2r1.rewards.custom_worker import read_request, request_of

MY_REWARDS = """
import os, signal, sys, time
from zero2r1.core.types import Score, Verdict

print("printed at import")
SEEN = []

def length(prompt, completion):
    print("printed in a call", flush=True)
    return float(len(completion.text))

def echo(prompt, completion):
    return Score(value=float(len(completion.token_ids)), verdict=Verdict.RIGHT, parts={}, notes=(completion.text,))

def loops_in_c(prompt, completion):
    return float(sum(range(10**12)))  # holds the interpreter lock, reads no signal

def stops_itself(prompt, completion):
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1.0

def forks(prompt, completion):
    with open(prompt.question, "w") as file:
        if os.fork() == 0:
            time.sleep(60)
        file.write(str(os.getpid()))
    time.sleep(60)

def returns_twice(prompt, completion):
    is_original = os.fork() != 0
    time.sleep(0.2 if is_original else 0.0)  # the copy would speak first
    return 1.0 if is_original else 2.0

def crashes(prompt, completion):
    os.kill(os.getpid(), signal.SIGSEGV)

def exits(prompt, completion):
    sys.exit(3)

def sleeps(prompt, completion):
    time.sleep(0.3)
    return 0.5

def raises(prompt, completion):
    raise KeyError("no such column")

def rank(prompts, completions, **columns):
    order = sorted(completions, key=len)
    return [float(order.index(completion)) for completion in completions]

def hangs_in_groups(prompts, completions, **columns):
    time.sleep(60)

def reads(prompt, completion):
    return float(len(sys.stdin.read()))

def memory(prompt, completion):
    return float(len(bytearray(300 * 2**20)))

def counts(prompt, completion):
    SEEN.append(completion.text)
    return float(len(SEEN))
"""
ASKED = prompt("6*7?")
SOURCES = ("length", "echo", "loops_in_c", "stops_itself", "crashes", "exits", "sleeps", "raises", "reads", "memory",
           "returns_twice", "counts")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "mine.py").write_text(MY_REWARDS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pool(folder):
    pool = CustomPool([f"mine.py::{name}" for name in SOURCES], folder=folder, timeout_s=1.0)
    yield pool
    pool.close()


def judge(pool, name, *texts, asked=ASKED):
    return pool.judge(f"mine.py::{name}", asked, [completion(asked, text) for text in texts])


def test_question_and_completion_arrive_as_they_were_sent():
    dialogue = prompt("hello", "hi", "6*7? \ud800 é")
    group = [completion(dialogue, "a\u2028b\x00"), completion(dialogue, "")]
    assert read_request(request_of(0, dialogue, group)) == (dialogue, group)


def test_values_and_scores_cross_the_border_and_printing_disturbs_nothing(pool):
    assert judge(pool, "length", "abc", "") == [Opinion(3.0), Opinion(0.0)]
    assert judge(pool, "echo", "\ud800 \u2028") == [Opinion(1.0, "\ud800 \u2028")]
    assert judge(pool, "reads", "a") == [Opinion(0.0)]  # standard input is empty, not the requests
    assert judge(pool, "memory", "a") == [Opinion(300.0 * 2**20)]  # no cap as in the answer worker


def test_a_large_group_fits_through_the_border(pool):
    texts = ["x" * 1_000_000 + str(index) for index in range(4)]
    assert [one.value for one in judge(pool, "length", *texts)] == [1_000_001.0] * 4


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("loops_in_c", "no verdict within 1 s: killed"),
        ("stops_itself", "no verdict within 1 s: killed"),
        ("crashes", "the grader crashed (signal 11)"),
        ("exits", "the grader ended"),
        ("raises", "raised KeyError: 'no such column'"),
    ],
)
def test_each_misfortune_is_an_error_with_a_reason_within_its_deadline(pool, name, note):
    began = time.monotonic()
    assert judge(pool, name, "a") == [Opinion(None, note, is_error=True)]
    assert time.monotonic() - began < 3.0
    assert judge(pool, "length", "abc") == [Opinion(3.0)]


def test_a_reward_that_forks_and_returns_twice_is_heard_once(pool):
    assert judge(pool, "returns_twice", "a") == [Opinion(1.0)]
    assert judge(pool, "length", "abc") == [Opinion(3.0)]


def test_calls_run_side_by_side(pool):
    began = time.monotonic()
    threads = [threading.Thread(target=judge, args=(pool, "sleeps", "a")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1.5  # 8 * 0.3 s one after another would be 2.4 s
    began = time.monotonic()
    assert judge(pool, "sleeps", *"abcdefgh") == [Opinion(0.5)] * 8  # a group of them, too
    assert time.monotonic() - began < 1.5


def test_children_of_a_fork_die_with_the_call_that_made_them(folder, tmp_path):
    asked = prompt(str(tmp_path / "pid"))
    pool = CustomPool(["mine.py::forks"], folder=folder, timeout_s=0.5)
    try:
        assert pool._link is not None
        session = pool._link.process.pid
        assert "killed" in judge(pool, "forks", "a", asked=asked)[0].note
        assert (tmp_path / "pid").exists()  # it did come as far as the fork
        deadline = time.monotonic() + 2.0
        while len(members_of(session)) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert members_of(session) == [str(session)]  # the worker alone
    finally:
        pool.close()


def test_a_stopped_worker_is_given_up_and_replaced_even_when_its_pipe_is_full(folder, monkeypatch):
    monkeypatch.setattr("zero2r1.rewards.custom_pool.GRACE_S", 0.5)
    pool = CustomPool(["mine.py::length"], folder=folder, timeout_s=0.5)
    try:
        assert pool._link is not None
        session = pool._link.process.pid
        os.kill(session, signal.SIGSTOP)
        began = time.monotonic()
        (found,) = judge(pool, "length", "x" * 3_000_000)
        assert "silent" in found.note
        assert time.monotonic() - began < 3.0
        assert members_of(session) == []
        assert judge(pool, "length", "abc") == [Opinion(3.0)]
    finally:
        pool.close()


def test_closing_leaves_no_process_and_no_thread(folder):
    before = set(threading.enumerate())
    pool = CustomPool(["mine.py::length", "mine.py::loops_in_c"], folder=folder, timeout_s=60.0)
    assert pool._link is not None
    session = pool._link.process.pid
    assert judge(pool, "length", "abc") == [Opinion(3.0)]
    found: list[Opinion] = []
    busy = threading.Thread(target=lambda: found.extend(judge(pool, "loops_in_c", "a")))
    busy.start()
    time.sleep(0.3)
    pool.close()
    busy.join(timeout=5.0)
    assert [one.is_error for one in found] == [True]
    assert members_of(session) == []
    assert set(threading.enumerate()) == before
    assert "closed" in judge(pool, "length", "abc")[0].note


def test_a_group_is_judged_in_one_call_and_its_deadline_is_an_error_of_all(folder):
    with made(folder, "rank", weight=2.0) as reward:
        group = [completion(ASKED, text) for text in ("bb", "cccc", "a")]
        assert reward.needs_group
        assert [score.value for score in reward.score_group(ASKED, group)] == [2.0, 4.0, 0.0]
        assert reward(ASKED, group[1]).value == 0.0  # alone, it is the shortest
    with made(folder, "hangs_in_groups", custom_timeout_s=0.3) as reward:
        scores = reward.score_group(ASKED, group)
        assert [(score.value, score.verdict) for score in scores] == [(None, Verdict.ERROR)] * 3
        assert all("no verdict within 0.3 s" in note for score in scores for note in score.notes if "::" in note)
        assert reward.error_frac == 1.0


def made(folder, name, *, weight=1.0, **settings):
    config = RewardConfig(accuracy=0.0, format=0.0, custom={f"mine.py::{name}": weight}, **settings)
    return make_reward(config, dialect=Dialect.R1_ZERO, folder=folder)


def test_a_reward_imports_what_the_trainer_could_and_no_neighbour_shadows_the_library(tmp_path, monkeypatch):
    (tmp_path / "neighbour.py").write_text("WORTH = 0.25\n", encoding="utf-8")
    (tmp_path / "re.py").write_text("raise ImportError('not the library')\n", encoding="utf-8")
    (tmp_path / "mine.py").write_text("import neighbour\ndef f(prompt, completion): return neighbour.WORTH\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool = CustomPool(["mine.py::f"], folder=tmp_path)
    try:
        assert judge(pool, "f", "a") == [Opinion(0.25)]
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("text", "name", "code"),
    [
        ("def f(:\n", "f", "Z140"),
        ("def g(prompt, completion): ...\n", "f", "Z140"),
        ("def f(text): ...\n", "f", "Z141"),
        ("raise SystemExit\n", "f", "Z142"),
    ],
)
def test_what_cannot_be_used_is_refused_at_the_start_and_leaves_nothing(tmp_path, text, name, code):
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    before = set(threading.enumerate())
    with pytest.raises(RewardError) as caught:
        CustomPool([f"mine.py::{name}"], folder=tmp_path)
    assert caught.value.code == code
    assert code == "Z142" or "mine.py" in caught.value.where
    assert set(threading.enumerate()) == before
