"""What is sampled from: a model's own network, or the same weights run by compiled code.

The compiled one is used where it can be had: a C++ compiler (Triton for a CUDA device), an architecture it knows, and a
proof on the spot that it gives the numbers of the model's own network. Whatever is missing costs speed, not results.

What it does not do: it keeps no copy of weights up to date; after a change, ask `follows`, and where that says no, for
the network again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from zero2r1.models.attention import AttentionContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.fused import FusedNetwork, prove, refusal
from zero2r1.models.head import head_of
from zero2r1.models.joined import join
from zero2r1.models.kernels.attention import AttentionKernels
from zero2r1.models.kernels.build import NoKernelsError
from zero2r1.models.kernels.choice import kernels_for
from zero2r1.models.kernels.protocol import AnyKernels

STEPS_AT_ONCE = 8
"""Ours: decoding steps in a row on a device that computes on its own, at most a page. A row of 8 ends 3.5 tokens late
on average, 2 % of responses of 200; in rows of 1 the device waits for the host at each token. Not measured."""


@runtime_checkable
class Forward(Protocol):
    """Token ids to hidden states after the final norm, as `models.forward.hidden_states` of one model."""

    def __call__(
        self, token_ids: Int[Tensor, " T"], position_ids: Int[Tensor, " T"], context: AttentionContext
    ) -> Float[Tensor, "T E"]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is sampled from."""

    forward: Forward
    logits: Callable[[Tensor], Tensor]
    """[n, E] hidden states to [n, V] logits, in float32 or in the dtype of the network."""
    vocab_size: int
    """V."""
    device: torch.device
    kernels: AnyKernels | None = None
    """Attention over pages and the choice of tokens, where they are compiled."""

    chosen: Callable[[Tensor, Tensor, float], None] | None = None
    """Is told the logits [n, V] of one step, the tokens [n] drawn from them, and the temperature."""
    recordable: FusedNetwork | None = None
    """The same network, where what it computes can be recorded."""
    at_once: int = 1
    """Most decoding steps in a row between which the host does not look."""
    follows: Callable[[PreTrainedModel], bool] = lambda model: False
    """Whether it goes on to read this model's weights as they change. Where not, ask for another network."""

    @property
    def attention(self) -> AttentionKernels | None:
        """Those of them that attend."""
        return None if self.kernels is None else self.kernels.attention


def network_of(model: PreTrainedModel) -> Network:
    """The model's own network, through transformers."""
    head = head_of(model)
    return Network(
        forward=partial(hidden_states, model),
        logits=head.logits,
        vocab_size=head.weight.shape[0],
        device=head.weight.device,
        at_once=_at_once(head.weight.device),
    )


def find_kernels(model: PreTrainedModel) -> tuple[AnyKernels | None, str]:
    """The compiled kernels, if this model can be sampled from with them, and in words what is used and why.

    They are compiled at the first call on a machine, which takes about seven seconds. On a CUDA device the weights are
    joined, so that the network reads them in place.
    """
    reason = refusal(model)
    if reason is not None:
        return None, f"transformers: {reason}"
    try:
        kernels = kernels_for(model.device)
    except NoKernelsError as problem:
        return None, f"transformers: {problem}"
    if model.device.type != "cpu":
        join(model)
    wrong = prove(FusedNetwork(model, kernels), model)
    return (kernels, "compiled") if wrong is None else (None, f"transformers: compiled, {wrong}")


def fused_network_of(model: PreTrainedModel, kernels: AnyKernels) -> Network:
    """The model's weights as they are now, run by compiled code."""
    head, fused = head_of(model), FusedNetwork(model, kernels)
    return Network(
        forward=fused.hidden_states,
        logits=fused.logits,
        vocab_size=head.weight.shape[0],
        device=head.weight.device,
        kernels=kernels,
        recordable=None if fused.layout is None else fused,
        at_once=_at_once(head.weight.device),
        follows=fused.follows,
    )


def _at_once(device: torch.device) -> int:
    return 1 if device.type == "cpu" else STEPS_AT_ONCE
