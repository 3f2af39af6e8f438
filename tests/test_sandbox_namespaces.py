"""Tier A on this machine: how a program runs in a box, what it can see and reach, and what it leaves behind."""

import json
import os
import sys
from pathlib import Path

import pytest
from tier_a import open_here

from zero2r1.sandbox.base import Status, Tier
from zero2r1.sandbox.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with open_here() as opened:
        yield opened


def told(sandbox: Sandbox, program: str):
    """What a program prints as its last line of JSON."""
    execution = sandbox.run(program)
    assert execution.is_clean, execution
    return json.loads(execution.stdout)


def test_a_program_runs_as_main(sandbox):
    seen = told(
        sandbox,
        "import sys, json\nclass A: pass\n"
        "print(json.dumps([__name__, A.__module__, sys.argv, sys.modules['__main__'].A is A, __builtins__.len('ab')]))",
    )
    assert seen == ["__main__", "__main__", ["program"], True, 2]
    assert sandbox.tier is Tier.A


@pytest.mark.parametrize(
    ("program", "code", "stderr"),
    [
        ("exit()", 0, b""),
        ("quit(6)", 6, b""),
        ("import sys; sys.exit()", 0, b""),
        ("import sys; sys.exit(7)", 7, b""),
        ("import sys; sys.exit(-1)", 255, b""),
        ("import sys; sys.exit('words')", 1, b"words\n"),
        ("import os; os._exit(3)", 3, b""),
        ("raise ValueError('no')", 1, b"ValueError: no\n"),
        ("def f(:", 1, b"SyntaxError: invalid syntax\n"),
        ("\x00", 1, b"source code string cannot contain null bytes\n"),
        ("x = '\ud800'", 1, b""),
        ("import sys; sys.excepthook = lambda *a: 1/0\nraise KeyError", 1, b"KeyError\n"),
        ("class E(Exception):\n  def __str__(self): raise E\nraise E", 1, b"<exception str() failed>\n"),
        ("import sys; sys.stdout = None", 0, b""),
        ("import sys; del sys.modules['__main__'], sys.stdout", 0, b""),
    ],
)
def test_the_exit_code_is_that_of_the_interpreter(sandbox, program, code, stderr):
    execution = sandbox.run(program)
    assert (execution.status, execution.exit_code) == (Status.EXITED, code), execution
    assert execution.stderr.endswith(stderr)
    assert b"box" not in execution.stderr  # a traceback shows the program's own frames only


def test_what_python_does_at_the_end_is_done(sandbox):
    program = (
        "import atexit, threading, time\natexit.register(print, 'exit')\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\nprint('main')"
    )
    assert sandbox.run(program).stdout == b"main\nthread\nexit\n"


@pytest.mark.parametrize(
    "program",
    [
        "file = open(1, 'w', closefd=False)\nfile.write('late')",
        "import sys, io\nsys.stdout.write('late')\nsys.stdout = io.StringIO()",
        "class A:\n  def __del__(self): print('late', end='')\na = A()",
        "import sys\nclass W:\n  t = ''\n  def write(self, t): self.t += t\n"
        "  def flush(self): sys.__stdout__.write(self.t)\nsys.stdout = W()\nprint('late', end='')",
    ],
)
def test_no_output_is_lost_at_the_end(sandbox, program):
    execution = sandbox.run(program)
    assert (execution.stdout, execution.exit_code) == (b"late", 0), execution


def test_nothing_of_the_caller_is_seen(sandbox, monkeypatch):
    monkeypatch.setenv("CANARY", "secret")
    program = """
import json, os, sys
seen = {"env": dict(os.environ), "fds": [], "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getpid(), os.getppid()]}
for fd in range(64):
    try:
        os.fstat(fd)
        seen["fds"].append(fd)
    except OSError:
        pass
seen["paths"] = [p for p in ("/proc", "/sys", "/etc", "/home", "/old", "/dev/mem", CHECKOUT) if os.path.exists(p)]
seen["root"] = sorted(os.listdir("/")), sorted(os.listdir("/dev")), os.getcwd(), os.listdir("/tmp")
seen["host"] = os.uname().nodename
print(json.dumps(seen))
"""
    seen = told(sandbox, program.replace("CHECKOUT", repr(str(Path(__file__).parent))))
    assert seen["env"] == {}
    assert seen["fds"] == [0, 1, 2]
    assert seen["ids"] == [1000, 1000, 1000, 2, 1]
    assert seen["paths"] == []
    assert seen["root"][1:] == [["null", "shm", "urandom", "zero"], "/tmp", []]
    assert seen["host"] == "box"


def test_packages_of_the_interpreter_are_not_shown(sandbox):
    program = "import json, os, sys\nprint(json.dumps([os.listdir(p) for p in PLACES if os.path.isdir(p)]))"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [f"{prefix}/lib/{version}/site-packages" for prefix in (sys.prefix, sys.base_prefix)]
    assert all(found == [] for found in told(sandbox, program.replace("PLACES", repr(places))))


def test_the_program_is_not_root_outside(sandbox):
    with sandbox.open("input()") as (session,):
        status = Path(f"/proc/{session._running.pid()}/status").read_text()
        server = Path(f"/proc/{session._running._server.pid}/status").read_text()
    for text in (status, server):
        words = {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines()}
        assert "0" not in words["Uid"] + words["Gid"]
        assert set(words["CapEff"] + words["CapPrm"] + words["CapAmb"]) == {"0" * 16}
        assert words["NoNewPrivs"] == ["1"]
    assert "Seccomp:\t2" in status


@pytest.mark.parametrize(
    "attempt",
    [
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import socket; socket.socket()",
        "import os; os.kill(1, 9)",
        "import os; os.setuid(0)",
        "import os; os.chroot('/tmp')",
        "import os; os.memfd_create('x')",
        "open('/x', 'w')",
        "import os; os.mkdir('/dev/x')",
        "import json; open(json.__file__, 'a')",
        "open('/tmp/big', 'wb').write(bytes(65 * 2**20))",
        "open('/dev/shm/big', 'wb').write(bytes(17 * 2**20))",
    ],
)
def test_what_is_forbidden_fails(sandbox, attempt):
    execution = sandbox.run(attempt)
    assert (execution.status, execution.exit_code) == (Status.EXITED, 1), execution
    assert execution.stderr.splitlines()[-1].partition(b":")[0] in (b"PermissionError", b"OSError")


def test_private_folders_can_be_written_and_nobody_sees_them_afterwards(sandbox):
    write = "for p in ('/tmp/a', '/dev/shm/a'):\n  open(p, 'w').write('x')\nimport os\nprint(os.listdir('/tmp'))"
    look = "import os\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'))"
    for _ in range(3):
        assert sandbox.run(write).stdout == b"['a']\n"
        assert sandbox.run(look).stdout == b"[] []\n"
    assert not Path("/dev/shm/a").exists()


def test_two_runs_share_no_module_state(sandbox):
    spoil = "import json, sys, builtins\njson.dumps = None\nbuiltins.len = None\nsys.path.clear()"
    for _ in range(2 * sandbox.slots):
        assert sandbox.run(spoil).is_clean
        assert sandbox.run("import json; print(json.dumps(len([1])))").stdout == b"1\n"


def test_sets_have_the_same_order_in_every_run(sandbox):
    outputs = {sandbox.run("print({str(n) for n in range(50)})").stdout for _ in range(3 * sandbox.slots)}
    assert len(outputs) == 1


def test_random_numbers_differ_from_run_to_run(sandbox):
    outputs = {sandbox.run("import random; print(random.random())").stdout for _ in range(4)}
    assert len(outputs) == 4


def test_threads_work_and_are_bounded(sandbox):
    few = "import threading\nfor n in range(16): threading.Thread(target=print, args=(7,)).start()"
    assert sandbox.run(few).stdout.split() == [b"7"] * 16
    many = (
        "import threading, time\nfor n in range(1000):\n"
        "  threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n  print(n)"
    )
    execution = sandbox.run(many)
    assert b"can't start new thread" in execution.stderr
    assert 16 <= len(execution.stdout.split()) < 64


def test_packages_can_be_shown(sandbox):
    import numpy

    folder = str(Path(numpy.__file__).parent.parent)
    assert sandbox.run("import numpy").exit_code == 1
    with open_here(slots=2, packages=(folder,)) as with_packages:
        execution = with_packages.run("import numpy as np\nprint(int(np.ones((200, 200)).dot(np.ones(200)).sum()))")
    assert execution.stdout == b"40000\n", execution  # 200 rows, each 200 ones


def test_the_fork_server_never_holds_a_program(sandbox):
    """Its whole memory is searched while a box runs and after; the word is put together only inside."""
    if os.geteuid() != 0:
        pytest.skip("only root reads another user's memory")
    word = "kangaroo" + "limerick"
    with sandbox.open(f"word = '{word}'\nprint(input() == word)\ninput()") as (session,):
        assert session.send(word.encode())
        assert session.receive() == b"True"
        server, program = session._running._server.pid, session._running.pid()
        assert not holds(server, word)
        assert holds(program, word)  # so the search does find what is there
    assert not holds(server, word)


def holds(pid: int, word: str) -> bool:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            start, end = (int(number, 16) for number in place.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                if word.encode() in memory.read(end - start):
                    return True
    return False
