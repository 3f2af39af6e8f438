"""Which tier isolates the programs of this machine: tested before use, never weakened in silence.

    auto   A if its self-test holds, else B with a warning, else a refusal
    A, B   that tier, or a refusal
    C      only with `unsafe_local_exec`, with a warning

`auto` with `unsafe_local_exec` falls back to C, with a warning, only where neither A nor B holds.
"""

from collections.abc import Callable, Sequence

from zero2r1.core.errors import RewardError
from zero2r1.sandbox.base import Launcher, Tier
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.sandbox.confined import ConfinedLauncher
from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.probes import NO_ANSWER, ProbeResult, broken_promises, self_test
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.unsafe import UnsafeLauncher

Report = Callable[..., object]
"""Called as report(kind, **fields), like the events of a run."""
SHOWN = 12
"""Silent probes named in an error, at most."""


def open_sandbox(config: SandboxConfig, *, report: Report | None = None) -> Sandbox:
    """The strongest sandbox that the settings allow and that holds here. Close it.

    Args:
        report: hears of the choice: kind `sandbox` with the tier, or `weak_sandbox` (code Z146) with the reasons.

    Raises:
        RewardError: no tier that the settings allow holds (Z144).
    """
    if config.tier == "C" and not config.unsafe_local_exec:
        raise _refusal(config, ["tier C isolates nothing"])
    tiers = [Tier.A, Tier.B] if config.tier == "auto" else [Tier(config.tier)]
    if config.tier == "auto" and config.unsafe_local_exec:
        tiers.append(Tier.C)
    reasons: list[str] = []
    for tier in tiers:
        found = _tested(tier, config)
        if isinstance(found, str):
            reasons.append(f"tier {tier}: {found}")
            continue
        if report is not None:
            is_weak = bool(reasons) or tier is Tier.C
            fields = {"code": "Z146", "reasons": reasons} if is_weak else {}
            report("weak_sandbox" if is_weak else "sandbox", tier=tier.value, slots=config.slots, **fields)
        return found
    raise _refusal(config, reasons)


def _tested(tier: Tier, config: SandboxConfig) -> Sandbox | str:
    """A sandbox of this tier that keeps what it promises, or why there is none."""
    try:
        sandbox = Sandbox(_launcher(tier, config), slots=config.slots)
    except OSError as problem:
        return str(problem)
    if tier is Tier.C:
        return sandbox
    is_kept = False
    try:
        broken = broken_promises(tier, self_test(sandbox))
        is_kept = not broken
    except OSError as problem:
        return f"the self-test could not be made: {problem}"
    finally:
        if not is_kept:
            sandbox.close()
    if is_kept:
        return sandbox
    return _in_words(broken)


def _in_words(broken: Sequence[ProbeResult]) -> str:
    """Failed probes with what was seen; those that said nothing by name."""
    failed = [f"{each.name} ({each.detail or 'open'})" for each in broken if each.detail != NO_ANSWER]
    silent = [each.name for each in broken if each.detail == NO_ANSWER]
    if silent:
        failed.append(f"no answer from {len(silent)}: {', '.join(silent[:SHOWN])}{', ...' if silent[SHOWN:] else ''}")
    return "; ".join(failed)


def _launcher(tier: Tier, config: SandboxConfig) -> Launcher:
    if tier is Tier.A:
        return NamespaceLauncher(slots=config.slots, packages=config.packages)
    if tier is Tier.B:
        return ConfinedLauncher(slots=config.slots, packages=config.packages)
    return UnsafeLauncher()


def _refusal(config: SandboxConfig, reasons: list[str]) -> RewardError:
    asked = "no tier holds on this machine" if config.tier == "auto" else f"tier {config.tier} was asked for"
    return RewardError(
        "Z144",
        f"no sandbox for programs that a model wrote: {asked}",
        why="\n".join(["a probe failed or a wall could not be built:", *reasons]),
        fix="allow user namespaces (tier A) or Landlock and seccomp (tier B) here; or, if these programs may read, "
        "change and send whatever you can: --unsafe-local-exec (unsafe_local_exec: true)",
    )
