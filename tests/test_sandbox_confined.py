"""Tier B: how programs end in it, what they can reach, and that nothing of them is left."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from as_nobody import run_as_nobody

from zero2r1.sandbox import confined
from zero2r1.sandbox import scratch as scratch_module
from zero2r1.sandbox.base import MIB, Limits, Status
from zero2r1.sandbox.confined import BOX_USERS, ConfinedLauncher
from zero2r1.sandbox.landlock import version
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.scratch import MAX_DEPTH, MAX_ENTRIES, Scratch

pytestmark = pytest.mark.skipif(version() < 1, reason="no Landlock here")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where boxes put their directories: a place that every user may enter, unlike pytest's."""
    tmp_path_factory.getbasetemp()  # made before the place for temporary files is another one
    with tempfile.TemporaryDirectory(prefix="boxes-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    patch = pytest.MonkeyPatch()
    patch.setattr(tempfile, "tempdir", str(folder))
    num_open = len(os.listdir("/proc/self/fd"))
    with Sandbox(ConfinedLauncher(2)) as made:
        yield made
    patch.undo()
    assert list(folder.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == num_open


@pytest.mark.parametrize(
    ("program", "status", "code", "stdout"),
    [
        ("print(1)", Status.EXITED, 0, b"1\n"),
        ("exit(5)", Status.EXITED, 5, b""),
        ("import sys; sys.exit(4)", Status.EXITED, 4, b""),
        ("1 / 0", Status.EXITED, 1, b""),
        ("not python", Status.EXITED, 1, b""),
        ("import sys; print(sys.stdin.read()[::-1])", Status.EXITED, 0, "é√".encode() + b"\n"),
        ("bytearray(10**12)", Status.EXITED, 1, b""),
        ("x = []\nwhile True: x.append(bytes(2**20))", Status.EXITED, 1, b""),
        ("import os; os.abort()", Status.SIGNALLED, None, b""),
        ("while True: pass", Status.CPU, None, b""),
        ("while True: print('x' * 1000)", Status.OUTPUT, None, None),
        ("import os, sys; print(dict(os.environ), sys.argv, sys.orig_argv)", Status.EXITED, 0, b"{} ['program'] []\n"),
        ("import dataclasses, json, sqlite3, encodings.idna; print(__name__)", Status.EXITED, 0, b"__main__\n"),
        ("print(sorted({'b', 'a', 'c'}) and hash('a') == hash('a'), list({'b', 'a', 'd'}))", Status.EXITED, 0, None),
    ],
)
def test_how_programs_end(sandbox: Sandbox, program, status, code, stdout):
    limits = Limits(cpu_s=0.3 if status is Status.CPU else 4.0, output_bytes=65536, memory_bytes=256 * MIB)
    ended = sandbox.run(program, stdin="√é".encode(), limits=limits)
    assert (ended.status, ended.exit_code) == (status, code), ended
    assert stdout is None or ended.stdout == stdout


def test_a_traceback_begins_with_the_program(sandbox: Sandbox):
    assert b"confine" not in sandbox.run("1 / 0").stderr
    assert sandbox.run("1 / 0").stderr.splitlines()[1].startswith(b'  File "<program>", line 1')


def test_idle_programs_end_by_wall_time(sandbox: Sandbox):
    ended = sandbox.run("import time; time.sleep(60)", limits=Limits(cpu_s=0.02))  # wall = 5 * 0.02 + 2 s
    assert ended.status is Status.WALL
    assert ended.wall_s < 10


def test_a_conversation(sandbox: Sandbox):
    echo = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"
    with sandbox.open(echo, "print('ready', flush=True)\ninput()") as (first, second):
        assert second.receive() == b"ready"
        assert first.send(b"ab")
        assert first.receive() == b"abab"
        assert first.finish().is_clean
    assert second.close().status is Status.KILLED


@AS_ROOT
def test_each_slot_has_its_own_user(sandbox: Sandbox):
    program = "import os; print(*os.getresuid(), *os.getresgid(), os.getgroups(), flush=True); input()"
    with sandbox.open(program, program) as sessions:
        said = [session.receive() for session in sessions]
    users = {int(line.split()[0]) for line in said}
    assert len(users) == 2
    assert users <= set(BOX_USERS)
    assert all(line == b" ".join([line.split()[0]] * 6) + b" []" for line in said)


BOMBS = {
    "many files": "for i in range(1000): open(f'f{i}', 'wb').write(bytes(2**20))",
    "removed files": "import os\nheld = []\nfor i in range(60):\n held.append(open('f', 'wb'))\n"
    " held[-1].write(bytes(2**20))\n held[-1].flush()\n os.unlink('f')\nwhile True: pass",
    "empty files": "for i in range(10**6): open(f'f{i}', 'w').close()",
    "a deep tree": "import os\nwhile True: os.mkdir('d'); os.chdir('d')",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_full_directory_ends_the_program(sandbox: Sandbox, folder: Path, bomb):
    ended = sandbox.run(BOMBS[bomb], limits=Limits(cpu_s=20.0, tmp_bytes=4 * MIB))
    assert (ended.status, ended.signal) == (Status.SIGNALLED, 9), ended
    assert list(folder.iterdir()) == []


def test_little_in_the_directory_is_fine_and_the_next_run_sees_nothing(sandbox: Sandbox, folder: Path):
    program = "import os, tempfile\nprint(os.listdir())\nopen('x', 'w').write('y' * 100)\nos.makedirs('a/b')\n"
    program += "with tempfile.TemporaryFile() as file: file.write(b'z')\nos.umask(0o777)\nos.mkdir('a/b/closed')"
    for _ in range(2):
        ended = sandbox.run(program)
        assert ended.is_clean, ended
        assert ended.stdout == b"[]\n"
    assert list(folder.iterdir()) == []


def test_one_large_file_is_refused(sandbox: Sandbox):
    ended = sandbox.run("open('f', 'wb').write(bytes(2 * 2**20))", limits=Limits(tmp_bytes=MIB))
    assert ended.status is Status.EXITED
    assert b"File too large" in ended.stderr


def test_a_thread_bomb_is_bounded(sandbox: Sandbox):
    program = "import threading, time\ncount = 0\nthreading.stack_size(32768)\ntry:\n while count < 2000:\n"
    program += "  threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); count += 1\n"
    program += "except RuntimeError: pass\nprint(count, flush=True)\nimport os; os._exit(0)"
    ended = sandbox.run(program, limits=Limits(memory_bytes=512 * MIB))
    assert 1 <= int(ended.stdout) <= 2000
    assert os.geteuid() != 0 or int(ended.stdout) < 64
    assert sandbox.run("print(2)").stdout == b"2\n"


def test_many_threads_share_the_slots(sandbox: Sandbox):
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda i: sandbox.run(f"print({i})").stdout, range(40)))
    assert ended == [b"%d\n" % i for i in range(40)]


def test_what_breaks_before_the_program_is_no_fault_of_it(monkeypatch):
    monkeypatch.setattr(confined, "filter_program", lambda: b"\x00" * 8)  # no program of the filter language ends so
    with Sandbox(ConfinedLauncher(2)) as broken:
        ended = broken.run("print(1)")
    assert ended.status is Status.BROKEN
    assert "seccomp" in ended.problem
    assert ended.stdout == b""


def test_a_box_that_cannot_be_made_leaves_nothing(sandbox: Sandbox, folder: Path, monkeypatch):
    assert sandbox.run("print(1)").is_clean

    def refused(_):
        raise OSError("none today")

    with Sandbox(ConfinedLauncher(2)) as broken:
        num_open = len(os.listdir("/proc/self/fd"))
        monkeypatch.setattr(confined, "ruleset", refused)
        for _ in range(5):
            assert broken.run("print(1)").status is Status.BROKEN
        assert len(os.listdir("/proc/self/fd")) == num_open
    assert list(folder.iterdir()) == []


@AS_ROOT
def test_a_closed_library_is_refused_with_a_reason(monkeypatch, tmp_path: Path):
    (tmp_path / "lib").mkdir(mode=0o700)
    monkeypatch.setattr(confined.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path / "lib")})
    with pytest.raises(OSError, match="cannot be read by an unprivileged user"):
        ConfinedLauncher(2)


def test_packages_can_be_imported_and_not_written(tmp_path: Path):
    tmp_path.chmod(0o755)
    (tmp_path / "helper.py").write_text("answer = 42")
    with Sandbox(ConfinedLauncher(2, packages=[str(tmp_path)])) as made:
        ended = made.run("import helper, os; print(helper.answer)\nopen(helper.__file__, 'a')")
    assert ended.stdout == b"42\n"
    assert b"PermissionError" in ended.stderr


def test_closing_ends_what_runs():
    made = Sandbox(ConfinedLauncher(2))
    threading.Timer(0.3, made.close).start()
    ended = made.run("while True: pass", limits=Limits(cpu_s=30.0))
    assert (ended.status, ended.signal) == (Status.SIGNALLED, 9)


HARNESS = """
import sys
from zero2r1.sandbox.confined import ConfinedLauncher
from zero2r1.sandbox.sandbox import Sandbox
with Sandbox(ConfinedLauncher(2)).open("import os; print(os.getpid(), flush=True)\\nwhile True: pass") as (session,):
    print(session.receive().decode(), flush=True)
    session.receive()
"""


def test_a_killed_harness_leaves_no_program(folder: Path):
    environment = {**os.environ, "TMPDIR": str(folder)}
    harness = subprocess.Popen([sys.executable, "-c", HARNESS], stdout=subprocess.PIPE, env=environment)
    assert harness.stdout is not None
    with harness.stdout:
        pid = int(harness.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    harness.kill()
    assert harness.wait() == -9
    deadline = time.monotonic() + 2.0
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(pid)
    [left] = folder.iterdir()  # nobody was there to remove it
    left.rmdir()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_it_works_for_an_ordinary_user():
    ended = run_as_nobody(
        "import os\nfrom zero2r1.sandbox.confined import ConfinedLauncher\nfrom zero2r1.sandbox.probes import *\n"
        "from zero2r1.sandbox.sandbox import Sandbox\n"
        "with Sandbox(ConfinedLauncher(2)) as made:\n"
        "    print(made.run('import os; print(os.getuid())').stdout, os.getuid())\n"
        "    print(broken_promises(made.tier, self_test(made)))\n"
    )
    uid = 65534 if os.geteuid() == 0 else os.getuid()
    assert ended.stdout.splitlines() == [f"b'{uid}\\n' {uid}", "[]"], ended.stderr


@AS_ROOT
def test_a_closed_place_for_temporary_files_is_not_used(monkeypatch, tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with Sandbox(ConfinedLauncher(2)) as made:
        assert made.run("import tempfile; tempfile.TemporaryFile()").is_clean
    monkeypatch.setattr(scratch_module, "FALLBACKS", ())
    with pytest.raises(OSError, match="no directory for temporary files"):
        Scratch(65534)


def test_the_directory_counts_and_goes(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch(None)
    assert not scratch.is_over(0, os.getpid())
    (scratch.path / "file").write_bytes(bytes(3 * 4096))
    assert not scratch.is_over(3 * 4096, os.getpid())
    assert scratch.is_over(3 * 4096 - 1, os.getpid())
    with open(scratch.path / "held", "wb") as held:
        held.write(bytes(8192))
        held.flush()
        (scratch.path / "held").unlink()
        assert scratch.is_over(4 * 4096, os.getpid())  # 3 blocks in the directory, 2 in a removed file
    assert not scratch.is_over(4 * 4096, os.getpid())
    for number in range(MAX_ENTRIES):
        (scratch.path / f"{number}").touch()
    assert scratch.is_over(2**40, os.getpid())
    scratch.remove()
    assert list(tmp_path.iterdir()) == []
    scratch = Scratch(None)
    (scratch.path / "a/b/c").mkdir(parents=True)
    (scratch.path / "a/b/file").touch()
    (scratch.path / "a/d").mkdir(mode=0)
    (scratch.path / "out").symlink_to(__file__)
    assert not scratch.is_over(2**40, os.getpid())
    scratch.path.joinpath(*["d"] * (MAX_DEPTH + 1)).mkdir(parents=True)
    assert scratch.is_over(2**40, os.getpid())
    scratch.remove()
    assert Path(__file__).exists()
    assert list(tmp_path.iterdir()) == []
