"""Who is asked: the protocol of a judge's voice, and the one way in which it may fail.

Two voices exist: `endpoint.EndpointVoice` (any server with an OpenAI-compatible chat interface) and
`policy.voice.PolicyVoice` (the local sampler). The judges know this protocol only.

What is not here: prompts and verdicts. A voice says texts and means nothing by them.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from zero2r1.core.types import Message


class JudgeUnavailable(Exception):
    """No whole reply came: network, server, limits, or a reply cut off. The message is the reason and holds no key.

    Judges turn it into an error verdict; it never reaches the training loop.
    """


@runtime_checkable
class Voice(Protocol):
    """A language model that replies to messages. Usable from any thread."""

    @property
    def name(self) -> str:
        """Model and settings: two voices of one name give replies that may stand for each other."""
        ...

    def say(self, messages: Sequence[Message], *, samples: int = 1, seed: int = 0) -> list[str]:
        """`samples` whole replies to one dialogue.

        Args:
            messages: ends with a user turn.
            samples: at least 1.
            seed: other seeds may give other replies; the same seed gives the same ones as far as the voice can.

        Raises:
            JudgeUnavailable: a reply is missing or not whole.
        """
        ...
