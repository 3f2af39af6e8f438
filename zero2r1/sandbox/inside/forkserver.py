"""The fork server: one process that makes boxes on request, one at a time, out of its own warm interpreter.

It builds its walls (`root.py`), says that it is ready, and then answers each request by starting a box (`box.py`). A
request is a JSON object with limits and five descriptors: program, stdin, stdout, stderr and the box's own socket to
the trusted side. The fork server passes them on and closes them: it never holds what a program says or is.

It ends when its control socket is closed or when the trusted process ends, and takes its boxes with it. The parent's
death signal is not used for that: it would come when the one thread ends that happened to start the fork server.

Runs as a program of its own, sent as text: it imports nothing of the package.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
from base64 import b64decode
from contextlib import suppress
from typing import Any

from . import box, kernel, root

NUM_ENDS = 5
REQUEST_SIZE = 4096
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Numeric libraries would start a thread for each core. Said to C only: `os.environ` stays empty in a box."""


def serve(control: socket.socket, owner: int, settings: dict[str, Any]) -> None:
    """Make boxes until the trusted side is gone.

    Args:
        control: socket to the trusted side, keeps message boundaries.
        owner: process descriptor of the trusted process.
        settings: `calls` (seccomp filter in base64), `packages`, `preload` (modules to import beforehand).
    """
    calls = b64decode(settings["calls"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored or blocked signals would be inherited
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        linux = kernel.Kernel()
        proc = os.open("/proc", os.O_PATH)
        root.build(linux, settings["packages"])
        linux.spare_address_space()
        for name in ONE_THREAD:
            os.putenv(name, "1")
        for name in settings["preload"]:
            importlib.import_module(name)
    except (OSError, ImportError) as wrong:
        control.send(json.dumps({"problem": f"{type(wrong).__name__}: {wrong}"}).encode())
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    control.send(json.dumps({"ready": True}).encode())
    events = select.poll()
    events.register(control, select.POLLIN)
    events.register(owner, select.POLLIN)
    guards: dict[int, int] = {}
    while True:
        for descriptor, _ in events.poll():
            if descriptor == owner:
                return
            if descriptor in guards:
                os.waitpid(guards.pop(descriptor), 0)
                events.unregister(descriptor)
                os.close(descriptor)
                continue
            request, ends, _, _ = socket.recv_fds(control, REQUEST_SIZE, NUM_ENDS)
            if not request:
                return
            guard = _answer(linux, proc, calls, request, ends)
            if guard is not None:
                handle = os.pidfd_open(guard)
                guards[handle] = guard
                events.register(handle, select.POLLIN)


def _answer(linux: kernel.Kernel, proc: int, calls: bytes, request: bytes, ends: list[int]) -> int | None:
    """Start the box that a request asks for. Without one, the closed socket tells the trusted side."""
    try:
        return box.start_box(linux, proc, calls, json.loads(request), ends)
    except OSError as wrong:
        with socket.socket(fileno=os.dup(ends[-1])) as channel, suppress(OSError):
            channel.send(json.dumps({"problem": str(wrong)}).encode())
        return None
    finally:
        for end in ends:
            os.close(end)
