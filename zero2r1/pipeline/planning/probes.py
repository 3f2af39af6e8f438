"""A network on random weights, run as a stage runs it: the learner's passes, the sampler's steps, and what they hold.

What it does not do: decide which sizes are read, or draw lines through the readings (`calibration` does).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.shapes import Shape, build
from zero2r1.policy.config import EngineConfig

if TYPE_CHECKING:
    from zero2r1.models.head import Head
    from zero2r1.policy.network import Network

READ_SECONDS = 0.5
"""Short readings are repeated for so long. Ours: a machine that others use is slow for tenths of a second at a time."""
MOST_READINGS = 40
"""Of one kind. Ours."""
SPREAD = (1.0, 0.7, 1.3, 0.85, 1.15)
"""Lengths of the rows that are read, as shares of the mean. Ours."""


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


def read(
    shape: Shape, layers: int, sizes: Sizes, settings: LearnerConfig, engine: EngineConfig
) -> tuple[dict[str, float], Running]:
    """Seconds by name of a network of so many layers, and what ran it.

    `small`, `large`: passes of the learner, with `learn_` and `forward_`; `apply`: its optimizer; `few`, `narrow`,
    `wide`: decoding steps; `prefill_narrow`, `prefill_wide`: reading all prompts; `layout`: laying out weights for the
    sampler.
    """
    from zero2r1.learner.learner import Learner

    config = {name: value for name, value in shape.config.items() if name != "layer_types"}
    config["num_hidden_layers"] = layers
    config["max_position_embeddings"] = max(shape.positions or 0, sizes.wide + sizes.steps)
    model = build(config, device="cpu")
    learner = Learner(model.eval(), settings, total_steps=1)
    apply = _apply_s(learner)
    found = {"apply": apply}
    for name, size in zip(("small", "large"), sizes.passes, strict=True):
        batch = _batch(probe_lengths(size, sizes.length), shape.vocab)
        found[f"learn_{name}"] = max(1e-9, timed(lambda batch=batch: _learn(learner, batch), repeats=2) - apply)  # type: ignore[misc]
        found[f"forward_{name}"] = timed(lambda batch=batch: learner.logprobs(batch), repeats=2)  # type: ignore[misc]
    network, found["layout"] = _sampled(model, engine)
    for name, live, width in (
        ("few", sizes.few, sizes.wide), ("narrow", sizes.slots, sizes.narrow), ("wide", sizes.slots, sizes.wide),
    ):  # fmt: skip
        found[name], found[f"prefill_{name}"] = _spoken(
            network, sizes, live=live, width=width, prompts=sizes.prompts, prefill_tokens=engine.prefill_tokens
        )
        if sizes.apart > sizes.prompts:
            found[name], _ = _spoken(
                network, sizes, live=live, width=width, prompts=sizes.apart, prefill_tokens=engine.prefill_tokens
            )
    return found, running_of(model, network, head=learner.head)


def probe_settings(learner: LearnerConfig) -> LearnerConfig:
    """A stage's settings without what only its updates need: one pass, all weights, no schedule."""
    return LearnerConfig(
        lr=1e-9,
        micro_tokens=10**9,
        compute_dtype=learner.compute_dtype,
        offload=learner.offload,
        activation_checkpointing=learner.activation_checkpointing,
        kernels=learner.kernels,
    )


def running_of(model: Any, network: "Network", *, head: "Head") -> Running:
    """What runs a model that a learner with this head has taken over, and the network that is sampled from."""
    import torch

    from zero2r1.models.fused import lays_out

    embedding, kernels = model.get_input_embeddings(), network.kernels
    laid_out = head.laid_out(model.dtype)
    copy = laid_out.weight if laid_out.packed is None else laid_out.packed.panels
    with torch.no_grad():
        stream = embedding(torch.zeros(1, dtype=torch.long)).dtype
    return Running(
        is_cpu=True,
        is_quick=any("forward" in vars(module) for module in model.modules() if module is not embedding),
        is_wide=stream == torch.float32,
        layout="shared" if kernels is None else "packed" if lays_out(model.dtype, kernels) else "joined",
        is_read_compiled=head.kernels is not None,
        head_bytes=0 if copy.data_ptr() == head.weight.data_ptr() else copy.element_size(),
    )


def _sampled(model: Any, engine: EngineConfig) -> tuple["Network", float]:
    """What the engine would sample from, and the seconds to lay its weights out."""
    from zero2r1.policy.network import find_kernels, fused_network_of, network_of

    kernels = find_kernels(model)[0] if engine.kernels == "auto" else None
    if kernels is None:
        return network_of(model), 0.0
    return fused_network_of(model, kernels), timed(lambda: fused_network_of(model, kernels), repeats=2)


def _spoken(
    network: "Network", sizes: Sizes, *, live: int, width: int, prompts: int, prefill_tokens: int
) -> tuple[float, float]:
    """Seconds of one decoding step with all that the sampler does around it, and of reading all prompts.

    Medians of three runs or more of the package's decoding loop, after one that is not counted.
    """
    from zero2r1.policy.base import Sampling
    from zero2r1.policy.decoding import Decoding
    from zero2r1.policy.scheduler import Job

    prompts = min(prompts, live)
    texts = [[(index + group) % network.vocab_size for index in range(max(2, width))] for group in range(prompts)]
    jobs = [Job(group=sample * prompts // live, sample=sample, key=sample) for sample in range(live)]
    runs: list[tuple[float, float]] = []
    spent = 0.0
    while len(runs) < 4 or (spent < READ_SECONDS and len(runs) < MOST_READINGS):
        began = time.perf_counter()
        decoding = Decoding(
            network, texts, jobs, sampling=Sampling(max_new_tokens=sizes.steps), eos_ids=(), decode=str, num_slots=live,
            prefill_tokens=prefill_tokens,
        )  # fmt: skip
        decoding.run(lambda spoken: None)
        seconds, stats = time.perf_counter() - began, decoding.stats
        spent += seconds
        runs.append(((seconds - stats.prefill_s) / stats.steps, stats.prefill_s))
    step, prefill = (median(values) for values in zip(*runs[1:], strict=True))
    return step, prefill


def timed(call: Callable[[], object], *, repeats: int) -> float:
    """Median seconds of a call, after one call that is not counted.

    Args:
        repeats: at least so many; more where they are short (READ_SECONDS).
    """
    call()
    seconds: list[float] = []
    while len(seconds) < repeats or (sum(seconds) < READ_SECONDS and len(seconds) < MOST_READINGS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def _apply_s(learner: Any) -> float:
    import torch

    def call() -> None:
        for parameter in learner.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        learner.optimizer.collect()
        norm = learner.optimizer.grad_norm()
        learner.optimizer.apply(lr=1e-9, grad_clip=1.0, grad_norm=norm)
        learner.optimizer.clear()

    return timed(call, repeats=3)


def _batch(lengths: Sequence[int], vocab: int) -> Any:
    import torch

    from zero2r1.learner.base import Batch, Row

    rows = [
        Row(
            token_ids=torch.arange(length) % vocab,
            loss_mask=torch.arange(length) > 0,
            weights=torch.full((length,), 1.0 / sum(lengths)),
        )
        for length in lengths
    ]
    return Batch(rows=tuple(rows))


def probe_lengths(tokens: int, length: int) -> list[int]:
    """Lengths around `length` that add up to about `tokens`: real rows differ, and are gathered for it.

    Ours: a spread of 30 %.
    """
    return [max(2, round(length * SPREAD[index % len(SPREAD)])) for index in range(max(1, tokens // length))]


def _learn(learner: Any, batch: Any) -> None:
    from zero2r1.sft.loss import cross_entropy

    learner.step(batch, cross_entropy)
