"""A network on random weights, run as a stage runs it: the learner's passes, the sampler's steps, and what they hold.

What it does not do: decide which sizes are read, or draw lines through the readings (`calibration` does).
"""

import time
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning.clock import MOST_READINGS, READ_SECONDS, timed
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.shapes import Shape, build
from zero2r1.pipeline.planning.speaking import MOST_RECORDED_GIB, Sizes, steps_of
from zero2r1.policy.config import EngineConfig

if TYPE_CHECKING:
    from zero2r1.models.head import Head
    from zero2r1.models.recording import Recording
    from zero2r1.policy.network import Network

SPREAD = (1.0, 0.7, 1.3, 0.85, 1.15)
"""Lengths of the rows that are read, as shares of the mean. Ours."""


def read(
    shape: Shape, layers: int, sizes: Sizes, settings: LearnerConfig, engine: EngineConfig
) -> tuple[dict[str, float], Running]:
    """Seconds by name of a network of so many layers, and what ran it.

    `small`, `large`: passes of the learner, with `learn_` and `forward_`; `replay`: the large one where all rows but
    one are read from a recording (computed, too, where there can be none); `apply`: its optimizer; `few`, `narrow`,
    `wide`: decoding steps; `recorded`: a wide one that is written down; `prefill_narrow`, `prefill_wide`: reading all
    prompts; `layout`: laying out weights for the sampler.
    """
    from zero2r1.learner.learner import Learner

    config = {name: value for name, value in shape.config.items() if name != "layer_types"}
    config["num_hidden_layers"] = layers
    config["max_position_embeddings"] = max(shape.positions or 0, sizes.wide + sizes.steps)
    model = build(config, device="cpu")
    learner = Learner(model.eval(), settings, total_steps=1)
    apply = _apply_s(learner)
    found = {"apply": apply}
    network, found["layout"] = _sampled(model, engine)
    for name, size in zip(("small", "large"), sizes.passes, strict=True):
        batch = _batch(probe_lengths(size, sizes.length), shape.vocab)
        found[f"learn_{name}"] = max(1e-9, timed(lambda batch=batch: _learn(learner, batch), repeats=2) - apply)  # type: ignore[misc]
        found[f"forward_{name}"] = timed(lambda batch=batch: learner.logprobs(batch), repeats=2)  # type: ignore[misc]
    found["replay"] = _replay_s(learner, network, batch) - apply
    found |= steps_of(network, sizes, engine, model)
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
        is_recordable=network.recordable is not None,
        head_bytes=0 if copy.data_ptr() == head.weight.data_ptr() else copy.element_size(),
    )


def _sampled(model: Any, engine: EngineConfig) -> tuple["Network", float]:
    """What the engine would sample from, and the seconds to lay its weights out."""
    from zero2r1.policy.network import find_kernels, fused_network_of, network_of

    kernels = find_kernels(model)[0] if engine.kernels == "auto" else None
    if kernels is None:
        return network_of(model), 0.0
    return fused_network_of(model, kernels), timed(lambda: fused_network_of(model, kernels), repeats=2)


def _record(recording: "Recording", model: Any, network: "Network", sequences: Sequence[Any]) -> None:
    """As if a sampler had said these sequences; nothing where the network cannot be recorded."""
    import torch

    from zero2r1.models.attention import PackedContext
    from zero2r1.policy.recorder import begin

    fused, kernels = network.recordable, network.kernels
    lengths = [len(one) - 1 for one in sequences]
    with recording.open(), torch.inference_mode():
        if not begin(recording, model, network, tokens=sum(lengths), temperature=1.0):
            return
        assert fused is not None and kernels is not None  # noqa: PT018
        positions = torch.cat([torch.arange(length) for length in lengths])
        hidden = fused.hidden_states(
            torch.cat([one[:-1] for one in sequences]), positions, PackedContext(lengths, kernels=kernels.attention),
            into=recording.take(sum(lengths)),
        )  # fmt: skip
        recording.choose(fused.logits(hidden), torch.cat([one[1:] for one in sequences]), kernels.head, temperature=1.0)
        for one, rows in zip(sequences, torch.arange(sum(lengths)).split(lengths), strict=True):
            recording.name(one.tolist(), rows)


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


def _learn(learner: Any, batch: Any, recording: Any = None) -> None:
    from zero2r1.sft.loss import cross_entropy

    learner.step(batch, cross_entropy, recording)


def _replay_s(learner: Any, network: "Network", batch: Any) -> float:
    """Seconds of a step on recorded rows, one of which is computed all the same; plainly where none can be recorded.

    Each step is recorded anew, for it changes the weights.
    """
    from zero2r1.models.recording import Recording

    recording, seconds = Recording(MOST_RECORDED_GIB), list[float]()
    while len(seconds) < 3 or (sum(seconds) < READ_SECONDS and len(seconds) < MOST_READINGS):
        _record(recording, learner.model, network, [row.token_ids for row in batch.rows])
        began = time.perf_counter()
        _learn(learner, batch, recording)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])
