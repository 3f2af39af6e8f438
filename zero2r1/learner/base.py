"""What the learner is given: rows of tokens, each with its weight, and a loss over them.

The weights are global: whoever builds a batch has already divided by the normaliser of the whole batch
(number of tokens, of sequences, a constant). The learner only sums, so the way it cuts the batch into
micro-batches, pads or packs it can never change the gradient.

Indexing rule used everywhere: entry t of a row speaks of token t being predicted from the tokens before it.
The first token of a row is predicted from nothing, so `loss_mask[0]` is always False.

What it does not do: it knows no rewards, no advantages, no algorithm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sequence (prompt and response) with what the loss needs to know of each of its tokens."""

    token_ids: Int[Tensor, " tokens"]
    loss_mask: Bool[Tensor, " tokens"]
    """True where the prediction of token t takes part in the loss."""
    weights: Float[Tensor, " tokens"]
    """Factor of token t in the loss of the whole batch; read only where `loss_mask` is True."""
    streams: Mapping[str, Float[Tensor, " tokens"]] = field(default_factory=dict)
    """Further numbers per token that a loss asks for by name, e.g. `advantage`, `old`, `reference`."""
    has_gradient: bool = True
    """False when the loss of this row does not depend on the parameters (advantage 0 and no KL term): then it is run
    forward only, for its metrics."""

    def __post_init__(self) -> None:
        if len(self.token_ids) == 0 or bool(self.loss_mask[0]):
            raise ValueError("a row has at least one token, and its first token is predicted from nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """All rows of one parameter update."""

    rows: tuple[Row, ...]
    temperature: float = 1.0
    """Log-probabilities are those of softmax(logits / temperature): the temperature of the sampler in RL, 1 in SFT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens under the loss of one micro-batch, laid end to end."""

    weights: Float[Tensor, " n"]
    segment: Int[Tensor, " n"]
    """Which row of the micro-batch a token belongs to, 0 <= segment < num_segments. Rows are never cut."""
    num_segments: int
    streams: Mapping[str, Float[Tensor, " n"]]
    is_replayed: bool = False
    """The network's results were read from a recording of the sampling: a comparison with the sampler would be one
    with itself."""


@runtime_checkable
class Loss(Protocol):
    """The part of a micro-batch in the loss of the whole batch."""

    def __call__(
        self, logprobs: Float[Tensor, " n"], entropy: Float[Tensor, " n"], tokens: Tokens
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, " n"]]]:
        """Sum over the tokens of weight * term, and detached numbers per token to be averaged as metrics.

        `logprobs` [n] in nats, with gradient; `entropy` [n] in nats, without.
        """
        ...
