"""The trusted side of a box: every way a run can end, conversations, and whom it blames for lost time.

Programs run in tier C here, which every machine has; clocks are tested with boxes that exist only in the test.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from zero2r1.sandbox import session as session_module
from zero2r1.sandbox.base import Ended, Limits, Running, Status, Usage
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.session import Session
from zero2r1.sandbox.unsafe import UnsafeLauncher, usage_of

ECHO = "import sys\nfor line in sys.stdin: print('got', line.strip(), flush=True)"
SHORT = Limits(cpu_s=0.2, output_bytes=1000)


@pytest.fixture
def sandbox():
    with Sandbox(UnsafeLauncher()) as opened:
        yield opened


@pytest.mark.parametrize(
    ("program", "status", "exit_code", "signal"),
    [
        ("print(1)", Status.EXITED, 0, None),
        ("raise SystemExit(3)", Status.EXITED, 3, None),
        ("quit(4)", Status.EXITED, 4, None),
        ("1/0", Status.EXITED, 1, None),
        ("import os; os.abort()", Status.SIGNALLED, None, 6),
        ("while True: pass", Status.CPU, None, 9),
        ("while True: print('x' * 100)", Status.OUTPUT, None, 9),
        ("import sys\nwhile True: print('x' * 100, file=sys.stderr)", Status.OUTPUT, None, 9),
    ],
)
def test_how_a_run_ended(sandbox, program, status, exit_code, signal):
    execution = sandbox.run(program, limits=SHORT)
    assert (execution.status, execution.exit_code, execution.signal) == (status, exit_code, signal), execution
    assert execution.is_clean == (exit_code == 0)
    assert bool(execution.problem) == (status is not Status.EXITED)
    assert len(execution.stdout) <= 1000
    assert len(execution.stderr) <= 1000


def test_a_program_that_only_waits_runs_into_the_wall():
    limits = Limits(cpu_s=0.02)
    assert limits.wall_s == pytest.approx(2.1)  # 5 * 0.02 + 2
    began = time.monotonic()
    with Sandbox(UnsafeLauncher()) as sandbox:
        execution = sandbox.run("import time; time.sleep(60)", limits=limits)
    assert execution.status is Status.WALL
    assert 2.1 <= time.monotonic() - began < 10


def test_exactly_the_limit_of_output_is_allowed(sandbox):
    execution = sandbox.run("import sys; sys.stdout.write('x' * 1000)", limits=SHORT)
    assert (execution.status, len(execution.stdout)) == (Status.EXITED, 1000)
    execution = sandbox.run("import sys; sys.stdout.write('x' * 1001)", limits=SHORT)
    assert (execution.status, execution.stdout) == (Status.OUTPUT, b"x" * 1000)


def test_a_big_input_and_every_character_arrive_whole(sandbox):
    given = ("ä中😀" * 300_000 + "\n").encode()
    program = "import sys\ndata = sys.stdin.buffer.read()\nsys.stdout.buffer.write(data[-14:])\nprint(len(data))"
    execution = sandbox.run(program, stdin=given)
    assert execution.stdout == "ä中😀\n".encode() * 0 + given[-14:] + b"2700001\n"  # (2 + 3 + 4) * 300,000 + 1
    assert sandbox.run("print(1)", stdin=given).stdout == b"1\n"  # nobody has to read it


def test_a_conversation(sandbox):
    with sandbox.open(ECHO) as (session,):
        for n in range(50):
            assert session.send(f"{n}".encode())
            assert session.receive() == f"got {n}".encode()
        execution = session.finish()
        assert execution.is_clean
        assert session.finish() is execution
        assert session.receive() is None
        assert session.send(b"late") is False


def test_two_programs_talk_in_turn(sandbox):
    with sandbox.open(ECHO, "print(input()[::-1], flush=True); input()") as (first, second):
        assert first.send(b"abc")
        said = first.receive()
        assert said is not None
        assert second.send(said)
        assert second.receive() == b"cba tog"
    assert [session.finish().status for session in (first, second)] == [Status.KILLED] * 2


def test_the_last_line_without_an_end_is_no_line_but_is_kept(sandbox):
    with sandbox.open("import sys; sys.stdout.write('whole\\nhalf')") as (session,):
        assert session.receive() == b"whole"
        assert session.receive() is None
        assert session.finish().stdout == b"half"


def test_each_answer_has_its_own_time(sandbox):
    """Four answers of about 0.1 s each under a limit of 0.25 s; then one that takes for ever."""
    program = (
        "import time\ndef burn(s):\n  end = time.process_time() + s\n  while time.process_time() < end: pass\n"
        "for _ in range(4):\n  input(); burn(0.1); print('ok', flush=True)\ninput(); burn(100)"
    )
    with sandbox.open(program, limits=Limits(cpu_s=0.25)) as (session,):
        for _ in range(4):
            assert session.send(b"")
            assert session.receive() == b"ok"
        assert session.send(b"")
        assert session.receive() is None
        assert session.finish().status is Status.CPU


def test_a_program_that_does_not_listen_blocks_nobody(sandbox):
    limits = Limits(cpu_s=0.02)
    with sandbox.open("import time; time.sleep(60)", limits=limits) as (session,):
        assert session.send(b"x" * 10**6) is False
        assert session.finish().status is Status.WALL


def test_a_daemon_cannot_hold_the_output_open(sandbox):
    program = "import os, time\nif os.fork() == 0:\n  time.sleep(60)\nprint(1, flush=True)"
    began = time.monotonic()
    assert sandbox.run(program).stdout == b"1\n"
    assert time.monotonic() - began < 5


def test_boxes_of_a_conversation_are_taken_together(sandbox):
    """Pairs on two slots from many threads: any half-way taking would end in a deadlock."""

    def talk(n: int) -> bytes | None:
        with sandbox.open(ECHO, ECHO) as (first, second):
            first.send(str(n).encode())
            second.send(first.receive() or b"")
            return second.receive()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(talk, range(12))) == [f"got got {n}".encode() for n in range(12)]
    with pytest.raises(ValueError, match="3 boxes at once"), sandbox.open(ECHO, ECHO, ECHO):
        pass
    with pytest.raises(ValueError, match="at least 2"):
        Sandbox(UnsafeLauncher(), slots=1)


class Pretended:
    """A box that exists only on paper: silent for ever, using what the test says."""

    def __init__(self, cpu_rate: float, starved_rate: float, problem: str = "") -> None:
        self.done, self._end = os.pipe()
        self._began = time.monotonic()
        self._rates, self._problem = (cpu_rate, starved_rate), problem
        self.num_kills = 0

    def usage(self) -> Usage | None:
        passed = time.monotonic() - self._began
        return Usage(cpu_s=self._rates[0] * passed, starved_s=self._rates[1] * passed)

    def kill(self) -> None:
        self.num_kills += 1

    def wait(self) -> Ended:
        os.close(self.done)
        os.close(self._end)
        return Ended(exit_code=None, signal=9, cpu_s=0.0, peak_bytes=0, problem=self._problem)


def finish_of(running: Running, limits: Limits):
    ends = [os.pipe() for _ in range(2)]
    try:
        with Session(running, stdin=None, stdout=ends[0][0], stderr=ends[1][0], limits=limits) as session:
            return session.finish()
    finally:
        for _, theirs in ends:
            os.close(theirs)


@pytest.mark.parametrize(
    ("cpu_rate", "starved_rate", "factor", "status", "seconds"),
    [
        (0.0, 0.0, 10, Status.WALL, 2.05),  # it slept: wall 5 * 0.01 + 2
        (0.0, 0.98, 1.2, Status.BROKEN, 2.46),  # no core nearly all the time: never guilty, given up at 1.2 * 2.05
        (0.1, 0.9, 10, Status.CPU, 0.15),  # a tenth of a core: 0.01 s of CPU time after the first look at 0.05 s
    ],
)
def test_lost_time_is_blamed_on_the_right_one(monkeypatch, cpu_rate, starved_rate, factor, status, seconds):
    monkeypatch.setattr(session_module, "STARVED_FACTOR", factor)
    running = Pretended(cpu_rate, starved_rate)
    execution = finish_of(running, Limits(cpu_s=0.01))
    assert execution.status is status
    assert running.num_kills == 1
    assert seconds - 0.06 <= execution.wall_s < seconds + 2


class NeverStarts(UnsafeLauncher):
    """A launcher that fails some times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.num_tries = failures, 0

    def launch(self, program, stdin, stdout, stderr, limits):
        self.num_tries += 1
        if self.num_tries <= self.failures:
            raise OSError("no memory for a box")
        return super().launch(program, stdin, stdout, stderr, limits)


def test_a_failure_of_the_sandbox_is_tried_again_and_then_told():
    before = len(os.listdir("/proc/self/fd"))
    with Sandbox(NeverStarts(1)) as sandbox:
        assert sandbox.run("print(1)").stdout == b"1\n"
    with Sandbox(NeverStarts(10**6)) as sandbox:
        execution = sandbox.run("print(1)")
        assert (execution.status, execution.exit_code) == (Status.BROKEN, None)
        assert "no memory for a box" in execution.problem
        with pytest.raises(OSError, match="no memory"), sandbox.open("print(1)"):
            pass
        assert sandbox._free == 2  # no slot is lost
    assert len(os.listdir("/proc/self/fd")) == before


def test_usage_sees_the_thread_that_waited_most():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    usage = usage_of(os.getpid())
    stop.set()
    thread.join()
    assert usage is not None
    assert usage.cpu_s > 0
    assert usage.starved_s >= 0
    assert usage_of(2**22 + 1) is None  # beyond the highest process id
