"""Crash safety: order of fsync and rename, crashes at each point, a full disk, and every kind of damage."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zero2r1.core.atomic import (
    MANIFEST,
    commit_directory,
    directory_hash,
    read_json,
    remove_directory,
    remove_leftovers,
    verify_directory,
    write_atomic,
    write_json_atomic,
)
from zero2r1.core.errors import RunError


class Crash(BaseException):
    """Stands for the end of the process: nothing after it runs but `finally`."""


@pytest.fixture
def trace(monkeypatch):
    """Order of fsync and rename, by path."""
    seen: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def traced_fsync(descriptor: int) -> None:
        seen.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def traced_rename(source: Path, target: Path) -> None:
        seen.append(("rename", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "rename", traced_rename)
    return seen


def make_aside(folder: Path) -> Path:
    aside = folder / ".step_1.tmp"
    (aside / "hf").mkdir(parents=True)
    (aside / "hf" / "model.safetensors").write_bytes(bytes(range(256)) * 10)
    (aside / "state.json").write_text('{"step": 1}')
    return aside


def make_committed(folder: Path, name: str = "step_1") -> Path:
    folder.mkdir(exist_ok=True)
    commit_directory(make_aside(folder), folder / name)
    return folder / name


def test_a_file_is_synced_then_renamed_then_its_directory_is_synced(tmp_path, trace):
    write_atomic(tmp_path / "status.json", "x")
    temporary = trace[0][1]
    assert temporary.startswith(".status.json.")
    assert trace == [("fsync", temporary), ("rename", "status.json"), ("fsync", tmp_path.name)]
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_text_is_utf8_and_bytes_are_bytes(tmp_path):
    write_atomic(tmp_path / "a" / "b", "中")
    assert (tmp_path / "a" / "b").read_bytes() == "中".encode()
    write_atomic(tmp_path / "a" / "b", b"\x00")
    assert (tmp_path / "a" / "b").read_bytes() == b"\x00"


@pytest.mark.parametrize("point", ["fsync", "rename"])
def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch, point):
    path = tmp_path / "state.json"
    write_atomic(path, "old")

    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(os, point, crash)
    with pytest.raises(Crash):
        write_atomic(path, "new")
    assert path.read_text() == "old"


def test_a_full_disk_is_a_clean_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="Z406 no space left on the disk"):
        write_atomic(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]
    assert path.read_text() == "old"


def test_other_errors_of_the_system_are_not_dressed_up(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "taken", "x")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_json_is_readable_sorted_and_strict(tmp_path):
    write_json_atomic(tmp_path / "a.json", {"b": 1, "a": "中"})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "a": "中",\n  "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": "中", "b": 1}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json_atomic(tmp_path / "a.json", float("nan"))


@pytest.mark.parametrize(("content", "code"), [(None, "Z403"), (b"", "Z411"), (b"{", "Z411"), (b"\xff", "Z411")])
def test_json_that_cannot_be_read_is_an_error_with_its_path(tmp_path, content, code):
    path = tmp_path / "state.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=f"{code} .*state.json"):
        read_json(path)


def test_a_directory_is_committed_in_the_only_safe_order(tmp_path, trace):
    commit_directory(make_aside(tmp_path), tmp_path / "step_1", lambda: trace.append(("hook", "")))
    manifest_temporary = trace[2][1]
    assert manifest_temporary.startswith(f".{MANIFEST}.")
    assert trace == [
        ("fsync", "model.safetensors"),
        ("fsync", "state.json"),
        ("fsync", manifest_temporary),
        ("rename", MANIFEST),
        ("fsync", ".step_1.tmp"),
        ("fsync", "hf"),
        ("fsync", ".step_1.tmp"),
        ("hook", ""),
        ("rename", "step_1"),
        ("fsync", tmp_path.name),
    ]


def test_a_committed_directory_is_whole_and_lists_its_files(tmp_path):
    final = make_committed(tmp_path / "checkpoints")
    manifest = verify_directory(final)
    assert sorted(manifest["files"]) == ["hf/model.safetensors", "state.json"]
    # sha256 of the text {"step": 1}
    assert manifest["files"]["state.json"]["bytes"] == 11
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == directory_hash(final)
    assert [path.name for path in final.parent.iterdir()] == ["step_1"]


def test_a_crash_before_the_rename_leaves_nothing_of_that_name(tmp_path):
    def crash() -> None:
        raise Crash

    with pytest.raises(Crash):
        commit_directory(make_aside(tmp_path), tmp_path / "step_1", before_rename=crash)
    assert not (tmp_path / "step_1").exists()
    assert [path.name for path in remove_leftovers(tmp_path)] == [".step_1.tmp"]
    assert list(tmp_path.iterdir()) == []


def test_a_finished_directory_is_never_overwritten(tmp_path):
    final = make_committed(tmp_path)
    with pytest.raises(RunError, match="Z412 output exists already"):
        commit_directory(make_aside(tmp_path), final)
    verify_directory(final)


def flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


DAMAGE = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip_a_byte,
    "swapped": lambda path: path.write_bytes(b"of another step"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["hf/model.safetensors", "state.json", MANIFEST])
def test_damage_of_every_kind_to_every_file_is_found_and_named(tmp_path, damage, name):
    final = make_committed(tmp_path / "checkpoints")
    DAMAGE[damage](final / name)
    with pytest.raises(RunError, match=r"Z4(03|11)") as raised:
        verify_directory(final)
    # A flipped byte of the manifest may sit in the name or hash of a file: then that file is named.
    assert name in str(raised.value) or name == MANIFEST


def test_a_file_that_was_added_is_found(tmp_path):
    final = make_committed(tmp_path)
    (final / "extra.bin").write_bytes(b"x")
    with pytest.raises(RunError, match=r"Z403 file 'extra\.bin' is not in the manifest"):
        verify_directory(final)


def test_a_link_is_refused(tmp_path):
    aside = make_aside(tmp_path)
    (aside / "link").symlink_to("/etc/hostname")
    with pytest.raises(RunError, match="Z403 symbolic link 'link'"):
        commit_directory(aside, tmp_path / "step_1")


@pytest.mark.parametrize("manifest", [[], {}, {"files": []}])
def test_a_manifest_that_lists_nothing_is_an_error(tmp_path, manifest):
    final = make_committed(tmp_path)
    (final / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"Z403 MANIFEST\.json lists no files"):
        verify_directory(final)


def test_a_directory_is_renamed_aside_before_it_is_removed(tmp_path, trace, monkeypatch):
    final = make_committed(tmp_path)

    def crash(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise Crash

    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(Crash):
        remove_directory(final)
    assert not final.exists()  # gone under its name, though its files are still there
    assert (tmp_path / ".step_1.removed").exists()
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


NAIVE_WRITER = """
import os, signal, sys
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir()
(folder / "a").write_bytes(b"whole")
(folder / "b").write_bytes(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_half_directory_of_a_naive_writer_is_found_out(tmp_path):
    killed = subprocess.run([sys.executable, "-c", NAIVE_WRITER, str(tmp_path / "step_1")], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(RunError, match=r"Z403 file is missing .*step_1/MANIFEST\.json"):
        verify_directory(tmp_path / "step_1")


WRITER = """
import sys, itertools
from pathlib import Path
from zero2r1.core.atomic import commit_directory, remove_directory, write_atomic
folder = Path(sys.argv[1])
for step in itertools.count(int(sys.argv[2])):
    aside = folder / f".step_{step}.tmp"
    aside.mkdir()
    for name in "abc":
        (aside / name).write_bytes(bytes([step % 256]) * 40000)
    commit_directory(aside, folder / f"step_{step}")
    write_atomic(folder / "latest", str(step))
    print(step, flush=True)
    if (folder / f"step_{step - 2}").exists():
        remove_directory(folder / f"step_{step - 2}")
"""


def test_a_writer_killed_at_any_moment_loses_no_step_it_acknowledged(tmp_path):
    acknowledged = 0
    for kill in range(6):
        remove_leftovers(tmp_path)
        for half in tmp_path.glob("step_*"):
            verify_directory(half)  # what has a name is whole
        begin = max([int(path.name[5:]) for path in tmp_path.glob("step_*")], default=0) + 1
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(begin)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.003 * kill)
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        assert writer.returncode == -signal.SIGKILL  # the kill landed while it was writing
        acknowledged = max(acknowledged, *(int(step) for step in [*rest, str(begin)]))
        kept = [int(path.name[5:]) for path in tmp_path.glob("step_*")]
        assert max(kept) >= acknowledged
        assert acknowledged <= int((tmp_path / "latest").read_text()) <= max(kept)
