"""What this machine has. Nothing heavy is imported, but for torch where there is the driver of a GPU to ask about."""

import os
import platform
import shutil
from importlib import metadata, util
from pathlib import Path

from zero2r1 import __version__

NEEDED = {"torch": "2.11", "transformers": "5.16", "math-verify": "0.9", "jaxtyping": "0.3"}
"""Distributions and their least versions, as in pyproject.toml (a test compares)."""

EXTRAS = {"gguf": "gguf", "lora": "peft", "parity": "trl", "vllm": "vllm"}
"""Extra -> the module that tells whether it is installed."""

DEMO_DISK_GIB = 1.0
"""Room the demo's run folder needs at most. Ours, generous."""


def facts() -> dict[str, str]:
    """What there is, in words, by name."""
    found = {"zero2r1": __version__, "python": platform.python_version()}
    found |= {name: version_of(name) for name in NEEDED}
    found["cores"] = str(num_cores())
    found["memory"] = f"{memory_gib():.1f} GiB"
    found["gpu"] = gpu()
    found["free disk"] = f"{free_gib(Path.cwd()):.1f} GiB"
    found["threads"] = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    found["extras"] = "  ".join(
        f"{extra} {'yes' if util.find_spec(module) else 'no'}" for extra, module in EXTRAS.items()
    )
    found["sandbox"] = sandbox()
    found["kernels"] = kernels()
    found["offline"] = "yes" if os.environ.get("HF_HUB_OFFLINE") == "1" else "no (a hub is only asked for a hub id)"
    return found


def problems(found: dict[str, str]) -> list[str]:
    """What would stop the demo: missing or old parts, no disk. Empty when all is well."""
    wrong = []
    for name, least in NEEDED.items():
        have = found[name]
        if have == "missing":
            wrong.append(f"{name} is not installed: pip install '{name}>={least}'")
        elif numbers(have) < numbers(least):
            wrong.append(f"{name} {have} is older than {least}: pip install '{name}>={least}'")
    if free_gib(Path.cwd()) < DEMO_DISK_GIB:
        wrong.append(f"less than {DEMO_DISK_GIB:.0f} GiB of disk is free here")
    return wrong


def version_of(distribution: str) -> str:
    """The installed version, or `missing`. Nothing is imported."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` as (2, 13, 0): enough to compare releases."""
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())


def gpu() -> str:
    """The GPUs that torch can compute on, and whether kernels for them can be compiled."""
    if version_of("torch") == "missing":
        return "no torch"
    from zero2r1.models.device import gpu_facts

    return gpu_facts()


def sandbox() -> str:
    """How programs that a model wrote would be isolated here. The tier's self-test is run: half a second."""
    from zero2r1.core.errors import RewardError
    from zero2r1.sandbox.config import SandboxConfig
    from zero2r1.sandbox.tiers import open_sandbox

    try:
        with open_sandbox(SandboxConfig()) as opened:
            return f"tier {opened.tier} (its self-test holds)"
    except RewardError:
        return "none: model-written programs are refused (zero2r1 explain Z144)"


def kernels() -> str:
    """Whether sampling on the CPU runs compiled. They are compiled now if they never were: seven seconds."""
    if version_of("torch") == "missing":
        return "no torch"
    from zero2r1.models.fetch import cache_folder
    from zero2r1.models.kernels.build import NoKernelsError, library

    try:
        library(cache_folder() / "kernels")
    except NoKernelsError as problem:
        return f"none, sampling on a CPU is slower: {problem}"
    return "compiled for this CPU"


def num_cores() -> int:
    """Cores this process may use, which in a container is fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Physical memory in GiB; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return 0.0


def free_gib(folder: Path) -> float:
    """Free disk space at a folder in GiB."""
    return shutil.disk_usage(folder).free / 2**30
