"""Settings of the sandbox.

What is not here: limits of a program (they come with each problem) and the sandbox itself.
"""

from typing import Literal

from pydantic import Field

from zero2r1.core.config import Strict


class SandboxConfig(Strict):
    """How programs that a model wrote are isolated."""

    tier: Literal["auto", "A", "B", "C"] = "auto"
    """`A`: namespaces, seccomp, limits. `B`: Landlock, seccomp, limits, for containers that forbid namespaces. `C`: no
    isolation, only with `unsafe_local_exec`. `auto`: A where it holds, else B with a warning, else a refusal. A tier
    that is named and does not hold is refused, never replaced. Ours: the paper does not say how it runs programs."""
    slots: int = Field(default=2, ge=2, le=256)
    """Programs at a time. Ours: one a core; at least two, because a test program and what it tests run side by side."""
    unsafe_local_exec: bool = False
    """Run programs with your own rights where no tier holds. They can then read, change and send whatever you can.
    Ours: off, and there is no other way to get it."""
    packages: tuple[str, ...] = ()
    """Directories that programs may import from, read-only, e.g. a folder with numpy. Ours: none; tasks are stated for
    the standard library."""
