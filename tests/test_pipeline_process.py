"""What a process sets for itself before it trains."""

import ctypes
import platform

import pytest
import torch

from zero2r1.pipeline import process
from zero2r1.pipeline.process import KEPT_BYTES, NEVER, settle


class Library:
    """A C library that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, setting: int, value: int) -> int:
        self.told.append((setting, value))
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: found)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    return found


def test_threads_are_set_where_they_are_named():
    before = torch.get_num_threads()
    try:
        settle(3)
        assert torch.get_num_threads() == 3
        settle(None)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_glibc_is_told_to_keep_what_is_freed(library: Library):
    settle(None)
    assert library.told == [(-1, NEVER), (-3, KEPT_BYTES)]  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1")]
)
def test_the_environment_has_the_last_word(library: Library, monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    settle(None)
    assert not library.told


def test_another_library_is_left_alone(library: Library, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    settle(None)
    assert not library.told


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own settings")
def test_this_glibc_takes_the_settings():
    assert ctypes.CDLL(None).mallopt(-1, NEVER) == ctypes.CDLL(None).mallopt(-3, KEPT_BYTES) == 1
