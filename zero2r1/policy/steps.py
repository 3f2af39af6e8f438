"""Decoding steps in a row: where everybody stands goes to the device, and the tokens of some steps come back.

Between them nobody looks: the device goes on with what it chose itself. A GPU would otherwise wait for the host at each
token. Whoever ends in between is decoded to the end of the row and the rest thrown away; what that writes beyond a
sequence's own pages goes to a page that nobody reads.

What it does not do: it decides nothing and keeps nothing from one row to the next (`slots` does).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int32, Int64
from torch import Tensor

from zero2r1.policy.base import Sampling
from zero2r1.policy.cache import PagedCache, StepContext
from zero2r1.policy.network import Network
from zero2r1.policy.sampler import next_tokens


class Style(NamedTuple):
    """A way of choosing tokens."""

    sampling: Sampling
    slots: Int64[Tensor, " _"] | None
    """Who chooses so; None: everybody."""


@runtime_checkable
class Decoder(Protocol):
    """The network's half of a step. `begin` once, then `logits` and `accept` by turns."""

    cache: PagedCache

    def begin(
        self, last: Int64[np.ndarray, " n"], positions: Int64[np.ndarray, " n"], tables: Int32[np.ndarray, "n M"]
    ) -> None:
        """The newest token of each sequence, the position it will have, and the sequence's pages in order."""
        ...

    def logits(self) -> Float[Tensor, "n V"]:
        """What follows the newest tokens, whose keys and values are in the cache from now on."""
        ...

    def accept(self, tokens: Int64[Tensor, " n"]) -> None:
        """These are the newest now, one position further."""
        ...


class EagerDecoder:
    """Operation by operation, on any device."""

    def __init__(self, network: Network, cache: PagedCache) -> None:
        self.cache, self._network = cache, network
        self._last = self._positions = self._tables = torch.empty(0)

    def begin(
        self, last: Int64[np.ndarray, " n"], positions: Int64[np.ndarray, " n"], tables: Int32[np.ndarray, "n M"]
    ) -> None:
        """See `Decoder`."""
        device = self._network.device
        # Copies: the host goes on changing its arrays.
        self._last, self._positions, self._tables = (
            torch.tensor(array, device=device) for array in (last, positions, tables)
        )

    def logits(self) -> Float[Tensor, "n V"]:
        """See `Decoder`."""
        network = self._network
        context = StepContext(self.cache, self._tables, self._positions, kernels=network.attention)
        return network.logits(network.forward(self._last, context.position_ids, context))

    def accept(self, tokens: Int64[Tensor, " n"]) -> None:
        """See `Decoder`."""
        self._last, self._positions = tokens, self._positions + 1


def run_steps(
    network: Network,
    decoder: Decoder,
    last: Int64[np.ndarray, " n"],
    positions: Int64[np.ndarray, " n"],
    tables: Int32[np.ndarray, "n M"],
    numbers: Float64[np.ndarray, "K n"],
    styles: Sequence[Style],
) -> tuple[Int64[np.ndarray, "K n"], Float32[np.ndarray, "K n"]]:
    """Tokens and their log-probabilities of K steps.

    Args:
        network: of the decoder.
        last, positions, tables: see `Decoder.begin`; pages for K more tokens of each.
        numbers: in [0, 1), one for each token.
    """
    uniforms = torch.tensor(numbers, device=network.device)
    decoder.begin(last, positions, tables)
    tokens: list[Tensor] = []
    logprobs: list[Tensor] = []
    for index in range(len(numbers)):
        if index:
            decoder.accept(tokens[-1])
        chosen, probable = _choose(network, decoder.logits(), uniforms[index], styles)
        tokens.append(chosen)
        logprobs.append(probable)
    return torch.stack(tokens).cpu().numpy(), torch.stack(logprobs).cpu().numpy()


def _choose(
    network: Network, logits: Float[Tensor, "n V"], numbers: Float64[Tensor, " n"], styles: Sequence[Style]
) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
    """A token for each sequence, once for each way of choosing."""
    tokens = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
    logprobs = torch.empty(len(logits), device=logits.device)
    for sampling, slots in styles:
        if slots is None:
            return _draw(network, logits, numbers, sampling)
        tokens[slots], logprobs[slots] = _draw(network, logits[slots], numbers[slots], sampling)
    return tokens, logprobs


def _draw(
    network: Network, logits: Float[Tensor, "n V"], numbers: Float64[Tensor, " n"], sampling: Sampling
) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
    if network.kernels is not None and sampling.temperature > 0.0 and not sampling.top_k and sampling.top_p == 1.0:
        tokens, logprobs = network.kernels.head.draw(logits, numbers, temperature=sampling.temperature)
        if network.chosen is not None:
            network.chosen(logits, tokens, sampling.temperature)
        return tokens, logprobs
    return next_tokens(logits.float(), numbers, sampling)
