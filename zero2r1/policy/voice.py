"""The local sampler as a judge's voice.

A judge asks messages; here they become a prompt without a checkable answer, and one completion each is the reply. So a
recipe can run without any server, with a judge as good as the policy that speaks.

What it does not do: it judges nothing, and it keeps no weights of its own: a policy that follows a learner changes its
judgement with it, which its name shows. A frozen judge needs a policy that follows nobody.
"""

import threading
from collections.abc import Sequence

from zero2r1.core.errors import ConfigError, ModelError
from zero2r1.core.random import Address
from zero2r1.core.types import AnswerKind, Finish, Message, Prompt, content_id
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rewards.judges.voice import JudgeUnavailable


class PolicyVoice:
    """A `rewards.judges.voice.Voice`. Usable from any thread; one call at a time.

    Args:
        policy: speaks.
        sampling: how, and how long a reply may be.
        prefilled: True when the policy's chat template ends with `<think>`, so that replies start inside the thinking.
    """

    def __init__(self, policy: Policy, sampling: Sampling, *, prefilled: bool = False) -> None:
        self._policy = policy
        self._sampling = sampling
        self._prefilled = prefilled
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The hash of the weights, and one of the sampling."""
        settings = content_id([self._sampling.model_dump(mode="json"), self._prefilled])
        return f"policy:{self._policy.weights_hash}#{settings[:8]}"

    def say(self, messages: Sequence[Message], *, samples: int = 1, seed: int = 0) -> list[str]:
        """See `Voice.say`. A reply at its token limit is not whole, and a question beyond the context has none.

        Raises:
            JudgeUnavailable: a reply is not whole.
            RunError: the policy cannot be sampled from at all, as `Policy.sample`.
        """
        prompt = Prompt(
            messages=tuple(messages),
            reference="",
            gold="",
            answer_kind=AnswerKind.NONE,
            domain="judge",
            language="en",
        )
        address = Address(seed=seed, stage="judge", step=0)
        try:
            with self._lock:
                [completions] = self._policy.sample([prompt], samples, sampling=self._sampling, address=address)
        except (ModelError, ConfigError) as problem:  # what is judged may be longer than the context or the cache
            raise JudgeUnavailable(problem.what) from problem
        if any(completion.finish is Finish.LENGTH for completion in completions):
            raise JudgeUnavailable(f"the reply was cut off at {self._sampling.max_new_tokens} tokens")
        start = "<think>\n" if self._prefilled else ""
        return [f"{start}{completion.text}" for completion in completions]
