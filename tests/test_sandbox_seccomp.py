"""The allowlist: every decision, for both architectures, by an interpreter of the kernel's filter language."""

import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from zero2r1.sandbox import seccomp
from zero2r1.sandbox.seccomp import ALLOW, ALLOWED, ARCHITECTURES, ERRNO, KILL, filter_program

EPERM, ENOSYS, EOPNOTSUPP = ERRNO | 1, ERRNO | 38, ERRNO | 95
BOTH = pytest.mark.parametrize("arch", sorted(ARCHITECTURES))


def decide(code: bytes, number: int, *arguments: int, audit: int) -> int:
    """What the kernel would do: the seven instructions that filters use, over struct seccomp_data."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, audit, 0, *(each & (2**64 - 1) for each in padded))
    instructions = list(struct.iter_unpack("<HBBI", code))
    register, at = 0, 0
    while True:
        operation, if_true, if_false, operand = instructions[at]
        at += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (register,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            register &= operand
        elif operation == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_true if register == operand else if_false
        elif operation == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            at += if_true if register >= operand else if_false
        else:
            assert operation == 0x06, operation  # BPF_RET | BPF_K
            return operand


def ask(arch: str, call: str | int, *arguments: int) -> int:
    machine = ARCHITECTURES[arch]
    number = machine.numbers[call] if isinstance(call, str) else call
    return decide(filter_program(arch), number, *arguments, audit=machine.audit)


@BOTH
def test_the_kernel_would_take_the_program(arch):
    code = filter_program(arch)
    instructions = list(struct.iter_unpack("<HBBI", code))
    assert 8 * len(instructions) == len(code)
    assert len(instructions) <= 4096  # BPF_MAXINSNS
    for at, (operation, if_true, if_false, operand) in enumerate(instructions):
        if operation in (0x15, 0x35):
            assert at + 1 + max(if_true, if_false) < len(instructions), "a jump leaves the program"
        if operation == 0x20:
            assert operand % 4 == 0
            assert operand < 64  # inside struct seccomp_data
    assert instructions[-1] == (0x06, 0, 0, EPERM)


@BOTH
def test_each_allowed_call_is_allowed_and_about_a_hundred_are(arch):
    calls = [call for calls in ALLOWED.values() for call in calls.split()]
    assert len(calls) == len(set(calls))
    known = [call for call in calls if call in ARCHITECTURES[arch].numbers]
    assert 80 <= len(known) <= 120
    assert {ask(arch, call, 2**64 - 1, 2**64 - 1, 2**64 - 1) for call in known} == {ALLOW}


@BOTH
def test_every_other_number_is_refused(arch):
    machine = ARCHITECTURES[arch]
    code = filter_program(arch)
    named = set(machine.numbers.values())
    others = [number for number in range(machine.newest + 1) if number not in named]
    assert len(others) > 300
    assert {decide(code, number, audit=machine.audit) for number in others} == {EPERM}
    # Calls newer than the table, and negative numbers: as a kernel answers that does not know them.
    assert {ask(arch, number) for number in (machine.newest + 1, 5000, 0x3FFFFFFF)} == {ENOSYS}


@BOTH
def test_another_architecture_kills_and_x32_is_refused(arch):
    machine = ARCHITECTURES[arch]
    code = filter_program(arch)
    others = {other.audit for other in ARCHITECTURES.values()} - {machine.audit} | {0x40000003, 0x40000028}  # i386, arm
    assert {decide(code, machine.numbers["read"], audit=audit) for audit in others} == {KILL}
    assert ask(arch, machine.numbers["read"] | 0x40000000) == EPERM


@pytest.mark.parametrize(
    ("arch", "numbers"),
    [
        # execve, fork, vfork, kill, socket, connect, ptrace, mount, unshare, memfd_create, bpf, io_uring_setup, tgkill.
        ("x86_64", (59, 57, 58, 62, 41, 42, 101, 165, 272, 319, 321, 425, 234)),
        # execve, kill, socket, connect, ptrace, mount, unshare, memfd_create, bpf, io_uring_setup, tgkill.
        ("aarch64", (221, 129, 198, 203, 117, 40, 97, 279, 280, 425, 131)),
    ],
)
def test_the_dangerous_ones_by_number(arch, numbers):
    assert {ask(arch, number) for number in numbers} == {EPERM}


@BOTH
def test_threads_but_no_processes(arch):
    thread = 0x3D0F00  # the flags of glibc's pthread_create
    assert ask(arch, "clone", thread) == ALLOW
    assert ask(arch, "clone", 17) == EPERM  # SIGCHLD: fork
    assert ask(arch, "clone", 0x4111) == EPERM  # CLONE_VFORK | CLONE_VM | SIGCHLD
    for bit in (17, 25, 26, 27, 28, 29, 30):  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
        assert ask(arch, "clone", thread | 1 << bit) == EPERM
    assert ask(arch, "clone3", 0, 88) == ENOSYS


@BOTH
def test_arguments_that_decide(arch):
    assert ask(arch, "ioctl", 0, 0x5401) == ALLOW  # TCGETS
    assert ask(arch, "ioctl", 0, 0x5412) == EPERM  # TIOCSTI
    assert ask(arch, "ioctl", 0, 0x1_0000_5412) == EPERM  # the kernel looks at the low word only
    assert ask(arch, "fcntl", 0, 4, 2048) == ALLOW  # F_SETFL
    assert ask(arch, "fcntl", 0, 8, 1) == EPERM  # F_SETOWN
    assert ask(arch, "fcntl", 0, 10, 9) == EPERM  # F_SETSIG
    assert ask(arch, "prctl", 15) == ALLOW  # PR_SET_NAME
    assert ask(arch, "prctl", 1, 0) == EPERM  # PR_SET_PDEATHSIG
    assert ask(arch, "prlimit64", 0, 7, 0, 4096) == ALLOW  # reading one's own
    assert ask(arch, "prlimit64", 0, 7, 4096, 0) == EPERM  # setting
    assert ask(arch, "prlimit64", 0, 7, 0x1_0000_0000, 0) == EPERM  # setting, from an address with a zero low word
    assert ask(arch, "prlimit64", 1234, 7, 0, 4096) == EPERM  # another process's
    assert ask(arch, "socketpair", 1, 1) == ALLOW  # AF_UNIX
    assert ask(arch, "socketpair", 16, 1) == EPERM  # AF_NETLINK
    assert ask(arch, "sendto", 3, 4096, 1, 0, 0, 0) == ALLOW
    assert ask(arch, "sendto", 3, 4096, 1, 0, 0x7_0000_0000, 110) == EPERM  # to an address
    open_at = -100
    assert ask(arch, "openat", open_at, 4096, 0o2000000) == ALLOW  # O_RDONLY | O_CLOEXEC
    assert ask(arch, "openat", open_at, 4096, 0o2001101) == ALLOW  # O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
    assert ask(arch, "openat", open_at, 4096, 0o1000) == EPERM  # O_RDONLY | O_TRUNC
    assert ask(arch, "openat", open_at, 4096, 0o20200002) == EOPNOTSUPP  # O_TMPFILE


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(OSError, match="riscv64"):
        filter_program("riscv64")


def test_a_filter_without_conditions_would_be_noticed(monkeypatch):
    monkeypatch.setattr(seccomp, "CONDITIONS", dict.fromkeys(seccomp.CONDITIONS, ()))
    assert ask("x86_64", "ioctl", 0, 0x5412) == ALLOW
    assert ask("x86_64", "clone", 17) == ALLOW


def test_numbers_are_those_of_the_headers():
    headers = sorted(Path("/usr/include").glob("**/asm/unistd_64.h"))
    if platform.machine() != "x86_64" or not headers:
        pytest.skip("no x86-64 kernel headers here")
    stated = dict(re.findall(r"#define __NR_(\w+) (\d+)", headers[0].read_text(encoding="ascii")))
    assert {name: int(stated[name]) for name in seccomp.X86_64} == dict(seccomp.X86_64)


PROGRAM = """
import asyncio, ctypes, os, struct, sys, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
code = bytes.fromhex(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
held = ctypes.create_string_buffer(code, len(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0
import numpy
assert abs(numpy.linalg.solve(numpy.eye(200) * 2, numpy.ones(200)).sum() - 100) < 1e-9
assert list(ThreadPoolExecutor(3).map(abs, [-1, 2])) == [1, 2]
async def nap():
    await asyncio.sleep(0.001)
    return 3
assert asyncio.run(nap()) == 3
with tempfile.TemporaryFile() as file:
    file.write(b"x")
for refused in (os.fork, lambda: os.kill(os.getpid(), 0), lambda: os.execv("/bin/true", ["true"]),
                lambda: os.memfd_create("x"), lambda: os.nice(1), lambda: os.chmod(".", 0o755)):
    try:
        refused()
    except PermissionError:
        print("refused")
sys.stdout.flush()
os.abort()
"""


def test_python_and_numpy_run_under_it():
    ended = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, filter_program().hex()], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.split() == ["refused"] * 6, ended.stderr
    assert ended.returncode < 0  # abort cannot signal, and ends the process by a trap instead
