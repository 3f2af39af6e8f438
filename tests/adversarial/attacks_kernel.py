"""Attacks on the kernel and by it: privileges, namespaces, devices, settings, calls that no program needs.

Each text goes on from the names of `attack_judge.PRELUDE`. Calls are tried with arguments that do no harm.
"""

from collections.abc import Mapping
from types import MappingProxyType

from attack_judge import Attack
from attacks import said_more_than

from zero2r1.sandbox.base import Status

KERNEL: Mapping[str, Attack] = MappingProxyType(
    {
        "another program": Attack(
            program="""
def become(path, *words):
    os.execve(path, [path, *words], {})
tries(become, "/bin/nowhere", "x" * 100_000)
for path in ("/usr/bin/id", "/bin/id", "/lib64/ld-linux-x86-64.so.2"):
    tries(become, path, *(["/usr/bin/id"] if "ld-" in path else []))
""",
            landed=lambda _, execution, __: b"uid=" in execution.stdout,
        ),
        "settings of the kernel": Attack(
            program="""
paths = ["kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "net/ipv4/ip_forward", "kernel/hostname"]
say(settings=sum(tries(lambda: open("/proc/sys/" + path, "r+b").close()) is not None for path in paths))
""",
            landed=said_more_than("settings", 0),
            needs_root=True,
        ),
        "become root": Attack(
            program="""
for action in ((os.setresuid, 0, 0, 0), (os.setresgid, 0, 0, 0), (os.setuid, 0), (os.setgroups, [0])):
    tries(*action)
say(root=(*os.getresuid(), *os.getresgid()).count(0))
""",
            landed=said_more_than("root", 0),
            needs_root=True,
        ),
        "own namespaces": Attack(
            program="""
flags = (0x10000000, 0x20000, 0x40000000, 0x10020000)
say(namespaces=sum(LIBC.unshare(flag) == 0 for flag in flags))
""",
            landed=said_more_than("namespaces", 0),
        ),
        "another root": Attack(
            program="""
os.mkdir("root")
ways = LIBC.mount(b"x", b"root", b"tmpfs", 0, 0) == 0 and LIBC.umount2(b"root", 0) == 0
say(roots=int(ways) + int(tries(os.chroot, "root") is not None))
""",
            landed=said_more_than("roots", 0),
            needs_root=True,
        ),
        "devices": Attack(
            program="""
names = ("mem", "kmsg", "port", "tty", "ptmx", "kvm", "fuse", "net/tun", "vda", "sda", "loop0", "full", "vsock")
opened = [name for name in names if tries(lambda: os.close(os.open("/dev/" + name, os.O_RDONLY)))]
if tries(os.mknod, "disk", 0o60600, os.makedev(7, 0)):
    opened.append("mknod")
say(devices=opened)
""",
            landed=lambda _, __, said: said.get("devices"),
        ),
        "calls of the kernel": Attack(
            program="""
SHUT = (-errno.EPERM, -errno.EACCES, -errno.ENOSYS)
NUMBERS = {"bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "setns": (308, 268), "init_module": (175, 105), "swapon": (167, 224), "syslog": (103, 116),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "inotify_init1": (294, 26), "kcmp": (312, 272),
    "move_pages": (279, 239), "personality": (135, 92), "semget": (64, 190), "mq_open": (240, 180),
    **{name: (number, number) for name, number in (("io_uring_setup", 425), ("open_tree", 428), ("fsopen", 430),
    ("pidfd_open", 434), ("pidfd_getfd", 438), ("process_madvise", 440), ("mount_setattr", 442))}}
column = ("x86_64", "aarch64").index(os.uname().machine)
say(calls=[name for name, both in NUMBERS.items() if call(both[column], *[-1] * 6) not in SHUT])
""",
            landed=lambda _, __, said: said.get("calls"),
        ),
        "every other call": Attack(
            program="""
SHUT = (-errno.EPERM, -errno.ENOSYS)
skipped = {*WORLD["calls"], 335, 336}  # uretprobe and uprobe are the kernel's own on x86-64: SIGILL for all others
numbers = [number for number in (*range(1100), *range(2**30, 2**30 + 600)) if number not in skipped]
say(calls=[number for number in numbers if call(number, *[-1] * 6) not in SHUT])
""",
            landed=lambda _, __, said: said.get("calls"),
            boxes_only=True,
        ),
        "the other entry to the kernel": Attack(
            program="""
import mmap
if os.uname().machine == "x86_64":
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000" "cd80" "c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    say(other=ctypes.CFUNCTYPE(ctypes.c_int)(address)())
""",
            landed=said_more_than("other", 0),
            may_end=frozenset({Status.SIGNALLED}),
        ),
    }
)
