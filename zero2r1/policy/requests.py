"""What goes into a session and what comes out of it.

What it does not do: nothing at all; these are frozen records.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zero2r1.core.types import Finish, Prompt
from zero2r1.policy.base import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt and how it is to be continued."""

    prompt: Prompt | tuple[int, ...]
    """A prompt to be rendered, or its token ids, at least one."""
    sampling: Sampling
    key: int
    """64 bits that all random numbers of this request come from; sample i uses number i of this key as its own."""
    samples: int = 1
    """Completions wanted, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """News of one sample."""

    request: int
    """What `Session.add` returned."""
    sample: int
    """0 <= sample < Request.samples."""
    token_ids: tuple[int, ...]
    """What was said since the last event of this sample: in a streaming session one token, or some where steps run in a
    row, else the whole response."""
    logprobs: tuple[float, ...]
    """[len(token_ids)] in nats; see `Completion.logprobs`."""
    finish: Finish | None
    """None: it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a session has done so far."""

    sampled_tokens: int = 0
    steps: int = 0
    """Decoding steps."""
    prefilled_tokens: int = 0
    """Tokens read, those of prompts and those read again after a preemption."""
    preemptions: int = 0
    """How often a live sample was put back to make room."""
    peak_pages: int = 0
    """Most pages in use at the same time."""
    num_pages: int = 0
    """Pages there are."""
    prefill_s: float = 0.0
    """Seconds of reading. On a device that computes on its own, only the time until the work was handed over."""
    decode_s: float = 0.0
    """Seconds of decoding steps."""


@runtime_checkable
class Encode(Protocol):
    """Renders a prompt to token ids."""

    def __call__(self, prompt: Prompt) -> tuple[int, ...]: ...
