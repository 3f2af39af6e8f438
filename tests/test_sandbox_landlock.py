"""Landlock: what is asked of each version of the kernel, and what a bound process can still reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zero2r1.sandbox import landlock
from zero2r1.sandbox.landlock import Access, attributes, handled, restrict_flags, ruleset, version


@pytest.mark.parametrize(
    ("abi", "files", "net", "scopes", "size", "flags"),
    [
        # Rights over files are bits 0 up: 13 of them in version 1, then REFER, TRUNCATE, and in 5 IOCTL_DEV.
        (1, 0x1FFF, 0, 0, 8, 0),
        (2, 0x3FFF, 0, 0, 8, 0),
        (3, 0x7FFF, 0, 0, 8, 0),
        (4, 0x7FFF, 3, 0, 16, 0),
        (5, 0xFFFF, 3, 0, 16, 0),
        (6, 0xFFFF, 3, 3, 24, 0),
        (7, 0xFFFF, 3, 3, 24, 1),
        (9, 0xFFFF, 3, 3, 24, 1),
    ],
)
def test_each_version_is_asked_for_all_it_knows(abi, files, net, scopes, size, flags):
    assert handled(abi) == (files, net, scopes)
    assert len(attributes(abi)) == size
    assert attributes(abi) == b"".join(word.to_bytes(8, sys.byteorder) for word in (files, net, scopes)[: size // 8])
    assert restrict_flags(abi) == flags


BOUND = """
import ctypes, os, sys
rules, flags = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(446, rules, flags) == 0, ctypes.get_errno()
folder = sys.argv[3]
def open_(name, mode="r"):
    with open(os.path.join(folder, name), mode) as file:
        return file.read() if mode == "r" else file.write("x")
for what, action in (
    ("read allowed", lambda: open_("readable/file")),
    ("write readable", lambda: open_("readable/file", "a")),
    ("add to readable", lambda: open_("readable/new", "w")),
    ("read other", lambda: open_("other/file")),
    ("list other", lambda: os.listdir(os.path.join(folder, "other"))),
    ("out of readable", lambda: open_("readable/../other/file")),
    ("through a link", lambda: open_("readable/link")),
    ("write scratch", lambda: open_("scratch/file", "w")),
    ("list scratch", lambda: os.listdir(os.path.join(folder, "scratch"))),
    ("move scratch out", lambda: os.rename(os.path.join(folder, "scratch/file"), os.path.join(folder, "other/moved"))),
    ("pipe in scratch", lambda: os.mkfifo(os.path.join(folder, "scratch/pipe"))),
    ("link in scratch", lambda: os.symlink("x", os.path.join(folder, "scratch/link"))),
    ("remove scratch", lambda: os.unlink(os.path.join(folder, "scratch/file"))),
    ("null", lambda: open("/dev/null", "w").close()),
    ("execute", lambda: os.execv("/bin/true", ["true"])),
):
    try:
        action()
        print(what)
    except OSError:
        pass
"""


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("readable", "other", "scratch"):
        (tmp_path / name).mkdir()
    for name in ("readable", "other"):
        (tmp_path / name / "file").write_text("text")
    (tmp_path / "readable" / "link").symlink_to(tmp_path / "other" / "file")
    return tmp_path


def reached(access: Access, folder: Path) -> list[str]:
    rules, flags = ruleset(access)
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", BOUND, str(rules), str(flags), str(folder)],
            pass_fds=(rules,), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(rules)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.skipif(version() < 1, reason="no Landlock here")
def test_only_what_is_named_can_be_reached(folders: Path):
    access = Access(readable=[folders / "readable", folders / "not there"], scratch=folders / "scratch")
    expected = ["read allowed", "write scratch", "list scratch", "remove scratch", "null"]
    assert reached(access, folders) == expected
    assert (folders / "other" / "file").read_text() == (folders / "readable" / "file").read_text() == "text"
    assert sorted(path.name for path in folders.rglob("*")) == sorted(
        ["readable", "other", "scratch", "file", "file", "link"]
    )


@pytest.mark.skipif(version() < 1, reason="no Landlock here")
def test_the_oldest_version_holds_the_same_walls(folders: Path, monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 1)
    access = Access(readable=[folders / "readable"], scratch=folders / "scratch")
    assert reached(access, folders) == ["read allowed", "write scratch", "list scratch", "remove scratch", "null"]


@pytest.mark.skipif(version() < 1, reason="no Landlock here")
def test_a_rule_too_wide_would_be_noticed(folders: Path):
    assert "read other" in reached(Access(readable=[folders], scratch=folders / "scratch"), folders)


def test_without_landlock_there_is_no_ruleset(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(OSError, match="no Landlock"):
        ruleset(Access(readable=[], scratch=tmp_path))


@pytest.mark.skipif(version() < 1, reason="no Landlock here")
def test_nothing_stays_open(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    made, _ = ruleset(Access(readable=[tmp_path], scratch=tmp_path))
    assert not os.get_inheritable(made)
    os.close(made)
    assert len(os.listdir("/proc/self/fd")) == before
