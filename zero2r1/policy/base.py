"""What a sampler promises: `Policy`, and how it is asked: `Sampling`.

The rest of the package (RL, filters, evaluation) knows this protocol only; `engine.Engine` is the built-in sampler.

What it does not do: it does not judge what was sampled. Whether a way of sampling suits its purpose (reinforcement
learning needs top_p = 1 and top_k off) is for the caller to say.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from pydantic import Field
from transformers import PreTrainedModel

from zero2r1.core.config import Strict
from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Prompt


class Sampling(Strict):
    """How the next token is chosen, and when a sequence ends."""

    temperature: float = Field(default=1.0, ge=0.0)
    """Divides the logits. 1: the paper's rollouts (DeepSeek-R1, R1-Zero training details). 0: the likeliest token."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the fewest likeliest tokens whose probabilities reach this sum; 1 draws from all. The paper's
    evaluation uses 0.95; for rollouts it states none."""
    top_k: int = Field(default=0, ge=0)
    """Draw from this many likeliest tokens. 0: from all. Ours: the paper states none."""
    max_new_tokens: int = Field(ge=1)
    """Tokens of a response, the end-of-sequence token included; then it is cut off with `Finish.LENGTH`."""
    stop: tuple[str, ...] = ()
    """Texts that end a response as soon as it contains one. The text itself stays part of the response."""


@runtime_checkable
class Policy(Protocol):
    """A model that speaks."""

    version: int
    """Number of updates the sampling weights have seen."""
    weights_hash: str
    """sha256 of the sampling weights, 16 hex digits."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        *,
        sampling: Sampling,
        address: Address,
        on_finished: Callable[[Completion], None] | None = None,
    ) -> list[list[Completion]]:
        """[P][G] completions, in the order of the prompts and of the sample index.

        The tokens of a completion depend on the weights, its prompt, its sample index, `sampling` and `address` only
        (and, for a prompt given more than once, on how often it came before, so that its samples are not copies).

        `on_finished` gets each completion (the object that is returned) as soon as it is whole, in any order, in the
        thread that samples: it must be quick. What it raises ends the call.
        """
        ...

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """Samples from these weights from now on."""
        ...
