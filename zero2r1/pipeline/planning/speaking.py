"""A network that is sampled from as a stage's sampler does: seconds of its steps and of reading prompts.

What it does not do: draw lines through the readings (`calibration` does).
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zero2r1.pipeline.planning.clock import by_turns
from zero2r1.policy.config import EngineConfig

if TYPE_CHECKING:
    from zero2r1.models.recording import Recording
    from zero2r1.policy.network import Network

MOST_RECORDED_GIB = 8.0
"""For passes that are read. Ours: more than a pass of 4,096 tokens of a model that this machine could run takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is read."""

    passes: tuple[int, int]
    """Tokens of a small and of a large pass of the learner."""
    length: int
    """Mean tokens of its rows."""
    slots: int
    """Answers decoded at a time."""
    narrow: int
    """Tokens of a short prompt."""
    wide: int
    """Tokens of a long one."""
    prompts: int
    """Different prompts of those answers."""
    apart: int
    """The same where steps are timed: what answers have said they do not share, and shared pages are read sooner."""
    steps: int
    """Tokens of each answer."""

    @property
    def few(self) -> int:
        """A quarter of the answers, at least 1."""
        return max(1, self.slots // 4)


def steps_of(network: "Network", sizes: Sizes, engine: EngineConfig, model: Any) -> dict[str, float]:
    """Seconds of decoding steps and of reading prompts, by name as in `probes.read`."""
    from zero2r1.models.recording import Recording

    places = {
        "few": (sizes.few, sizes.wide), "narrow": (sizes.slots, sizes.narrow), "wide": (sizes.slots, sizes.wide),
    }  # fmt: skip

    def runs(prompts: int) -> dict[str, Callable[[], tuple[float, float]]]:
        speak = partial(_spoken, network, prompts=prompts, steps=sizes.steps, prefill_tokens=engine.prefill_tokens)
        return {name: partial(speak, live=live, width=width) for name, (live, width) in places.items()}

    apart = max(sizes.apart, sizes.prompts)
    recorded = partial(
        _spoken, network, live=sizes.slots, width=sizes.wide, prompts=apart, steps=sizes.steps,
        prefill_tokens=engine.prefill_tokens, recorded=(Recording(MOST_RECORDED_GIB), model),
    )  # fmt: skip
    steps = by_turns(runs(apart) | {"recorded": recorded})
    prefills = steps if apart == sizes.prompts else by_turns(runs(sizes.prompts))
    return {name: step for name, (step, _) in steps.items()} | {
        f"prefill_{name}": prefills[name][1] for name in ("narrow", "wide")
    }


def _spoken(
    network: "Network",
    *,
    live: int,
    width: int,
    prompts: int,
    steps: int,
    prefill_tokens: int,
    recorded: "tuple[Recording, Any] | None" = None,
) -> tuple[float, float]:
    """Seconds of one decoding step with all that the sampler does around it, and of reading all prompts, in one run of
    the package's decoding loop.

    Args:
        recorded: where it is written down, where it can be, and the model whose weights the network has.
    """
    from zero2r1.policy.base import Sampling
    from zero2r1.policy.decoding import Decoding
    from zero2r1.policy.recorder import begin
    from zero2r1.policy.scheduler import Job

    prompts = min(prompts, live)
    texts = [[(index + group) % network.vocab_size for index in range(max(2, width))] for group in range(prompts)]
    jobs = [Job(group=sample * prompts // live, sample=sample, key=sample) for sample in range(live)]
    recording, model = recorded or (None, None)
    tokens = live * steps + sum(map(len, texts))
    began = time.perf_counter()
    with nullcontext() if recording is None else recording.open():
        is_recorded = recording is not None and begin(recording, model, network, tokens=tokens, temperature=1.0)
        decoding = Decoding(
            network, texts, jobs, sampling=Sampling(max_new_tokens=steps), eos_ids=(), decode=str,
            num_slots=live, prefill_tokens=prefill_tokens, recording=recording if is_recorded else None,
        )  # fmt: skip
        decoding.run(lambda spoken: None)
    seconds, stats = time.perf_counter() - began, decoding.stats
    return (seconds - stats.prefill_s) / stats.steps, stats.prefill_s
