"""Tier A over time: crashes of each of its processes, many runs, its end and its owner's end leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from as_nobody import run_as_nobody
from tier_a import LOOP, all_gone, lives, open_here

from zero2r1.sandbox import forkserver, namespaces
from zero2r1.sandbox.base import Limits, Status
from zero2r1.sandbox.namespaces import NamespaceLauncher


@pytest.fixture
def fresh():
    with open_here() as opened:
        yield opened


def test_many_threads_share_two_slots(fresh):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: fresh.run(f"print({n})").stdout, range(80)))
    assert found == [f"{n}\n".encode() for n in range(80)]


def test_a_dead_fork_server_is_replaced(fresh):
    dead = [server.pid for server in fresh._launcher._idle]
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    assert all_gone(dead)
    with fresh.open("print(1)", "print(2)") as sessions:
        assert [session.receive() for session in sessions] == [b"1", b"2"]
    assert {server.pid for server in fresh._launcher._idle}.isdisjoint(dead)


def test_a_fork_server_that_dies_under_a_run_costs_one_more_try(fresh):
    program = "import time; time.sleep(0.3); print(1)"
    threading.Timer(0.15, lambda: [os.kill(server.pid, signal.SIGKILL) for server in fresh._launcher._busy]).start()
    began = time.monotonic()
    assert fresh.run(program).stdout == b"1\n"
    assert time.monotonic() - began > 0.4  # the first try was lost


def test_a_stopped_fork_server_is_replaced(fresh, monkeypatch):
    monkeypatch.setattr(forkserver, "START_S", 0.5)
    stopped = [server.pid for server in fresh._launcher._idle]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert fresh.run("print(1)").stdout == b"1\n"
    assert time.monotonic() - began > 0.4  # it was waited for
    with fresh.open("print(1)", "print(2)") as sessions:
        assert [session.receive() for session in sessions] == [b"1", b"2"]
    assert all_gone(stopped)


def test_a_stopped_guard_is_a_broken_box(fresh, monkeypatch):
    monkeypatch.setattr(namespaces, "END_S", 0.3)
    with fresh.open(LOOP) as (session,):
        program, server = session._running.pid(), session._running._server.pid
        guard = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard, signal.SIGSTOP)
        session.close()
    assert session.finish().problem == "the box was lost" or session.finish().status is Status.KILLED
    assert all_gone([program, guard, server])
    assert fresh.run("print(1)").stdout == b"1\n"


def test_close_leaves_no_process_and_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    mounts = Path("/proc/self/mountinfo").read_text()
    opened = open_here(slots=3)
    with opened.open(LOOP, LOOP) as sessions:
        pids = [session._running.pid() for session in sessions]
        pids += [server.pid for server in (*opened._launcher._busy, *opened._launcher._idle)]
        assert len(pids) == 5
        assert all(lives(pid) for pid in pids)
        opened.close()
        assert all_gone(pids)
        assert [session.finish().status for session in sessions] == [Status.BROKEN] * 2
    assert len(os.listdir("/proc/self/fd")) == before
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert opened.run("print(1)").status is Status.BROKEN


def test_a_program_killed_from_outside_is_not_guilty(fresh):
    """As when the machine runs out of memory. A kill by the caller is told as such."""
    with fresh.open(LOOP, LOOP) as (first, second):
        os.kill(first._running.pid(), signal.SIGKILL)
        assert first.finish().status is Status.BROKEN
        assert second.close().status is Status.KILLED


def test_runs_leave_nothing_behind(fresh):
    for _ in range(fresh.slots):
        fresh.run("print(1)")
    before = len(os.listdir("/proc/self/fd"))
    servers = [server.pid for server in fresh._launcher._idle]
    time.sleep(0.05)  # a guard is reaped after it has said its last word
    inner = [len(os.listdir(f"/proc/{pid}/fd")) for pid in servers]
    for _ in range(10):
        fresh.run("print(1)")
        fresh.run("import os; os.abort()")
        fresh.run("print('x' * 10**6)", limits=Limits(output_bytes=1000))
    assert len(os.listdir("/proc/self/fd")) == before
    time.sleep(0.05)
    assert [len(os.listdir(f"/proc/{pid}/fd")) for pid in servers] == inner
    for pid in servers:
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


OWNER = """
import os, sys, time
from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.sandbox import Sandbox

opened = Sandbox(NamespaceLauncher(slots=3))
if FORKS and os.fork() == 0:
    time.sleep(5)  # as a worker of a data loader: it holds copies of all sockets
    os._exit(0)
with opened.open("while True: pass", "input()") as sessions:
    servers = [server.pid for server in (*opened._launcher._busy, *opened._launcher._idle)]
    print(*servers, *(session._running.pid() for session in sessions), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("forks", [False, True])
def test_when_the_owner_is_killed_everything_ends(fresh, root, forks):
    script = f"FORKS = {forks}\n{OWNER}"
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    with owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 5
        assert all(lives(pid) for pid in pids)
        owner.kill()
        assert all_gone(pids)


def test_a_box_whose_caller_hangs_up_ends(fresh):
    with fresh.open(LOOP) as (session,):
        program, server = session._running.pid(), session._running._server.pid
        session._running._channel.shutdown(socket.SHUT_RDWR)
        assert all_gone([program])
        assert lives(server)


def test_what_cannot_be_built_is_said():
    with pytest.raises(OSError, match="decoded_wrongly"):
        NamespaceLauncher(preload=("decoded_wrongly",))
    with pytest.raises(OSError):
        NamespaceLauncher(python="/nowhere/python")


NOBODY = """
import os
from zero2r1.sandbox.base import Limits, Status
from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.sandbox import Sandbox

with Sandbox(NamespaceLauncher()) as sandbox:
    assert sandbox.run("import os; print(os.getuid(), os.listdir('/tmp'))").stdout == b"1000 []\\n"
    assert sandbox.run("while True: pass", limits=Limits(cpu_s=0.2)).status is Status.CPU
    assert sandbox.run("import os; os.fork()").exit_code == 1
    with sandbox.open("print(input() * 2)") as (session,):
        assert session.send(b"ab")
        assert session.receive() == b"abab"
print("fine", os.getuid())
"""


def test_it_works_for_a_user_without_privileges(fresh):
    result = run_as_nobody(NOBODY)
    assert result.stdout.split() == ["fine", str(65534 if os.geteuid() == 0 else os.geteuid())], result.stderr
