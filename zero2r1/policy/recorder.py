"""One call of the sampler, recorded: what the network computes goes to a `Recording`, and the cache remembers where.

Each place of the cache is marked with the row of the recording that holds what was computed of its token. Pages are
shared, copied and given up with their marks, so a sequence that ends finds the rows of all its tokens on its pages,
whoever computed them.

What it does not do: a recording of its own (`models.recording`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor, nn

from zero2r1.models.attention import AttentionContext
from zero2r1.models.fused import FusedNetwork
from zero2r1.models.kernels.protocol import AnyHead
from zero2r1.models.recording import Recording
from zero2r1.policy.cache import PagedCache, PrefillContext, StepContext
from zero2r1.policy.network import Network


def begin(recording: Recording, model: nn.Module, network: Network, *, tokens: int, temperature: float) -> bool:
    """Whether the recording takes so many tokens of this network, which has the model's weights."""
    fused, kernels = network.recordable, network.kernels
    if fused is None or fused.layout is None or kernels is None:
        return False
    return recording.begin(model, fused.layout, kernels, tokens=tokens, temperature=temperature)


class Recorder:
    """Writes one call's tokens into a recording that has room for them."""

    def __init__(self, recording: Recording, network: FusedNetwork, head: AnyHead, cache: PagedCache) -> None:
        """
        Args:
            recording: `begin` has been called for this network.
            cache: a marked one.
        """
        self._recording, self._network, self._head, self._cache = recording, network, head, cache
        self._newest = 0

    def forward(
        self, token_ids: Int[Tensor, " T"], position_ids: Int[Tensor, " T"], context: AttentionContext
    ) -> Float[Tensor, "T E"]:
        """As `Network.forward`. Tokens beyond the room there is are computed and not recorded."""
        assert isinstance(context, PrefillContext | StepContext)
        recording, count = self._recording, len(token_ids)
        room = recording.take(count)
        self._newest = 0 if room is None else count
        hidden = self._network.hidden_states(token_ids, position_ids, context, into=room)
        rows = torch.full((count,), -1) if room is None else torch.arange(recording.used - count, recording.used)
        self._cache.mark(context.places, rows)
        return hidden

    def choose(self, logits: Float32[Tensor, "n V"], tokens: Int64[Tensor, " n"], temperature: float) -> None:
        """As `Network.chosen`. Only a step all of whose tokens are drawn in one way is recorded."""
        if len(logits) == self._newest:
            self._recording.choose(logits, tokens, self._head, temperature=temperature)

    def end(self, token_ids: Sequence[int], pages: Sequence[int]) -> None:
        """A sequence has ended: prompt and response, and the pages that hold all of it but the last token."""
        self._recording.name(token_ids, self._cache.marked(pages, len(token_ids) - 1))
