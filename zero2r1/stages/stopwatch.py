"""Where the time of an update goes: sampling, rewards, and the rest, which is training.

Wrappers around the policy and the reward, so that the algorithm itself holds no clock.
"""

import time
from collections.abc import Sequence

from transformers import PreTrainedModel

from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Prompt, Reward, Score
from zero2r1.policy.base import Policy, Sampling


class Stopwatch:
    """Seconds by phase since the last reading."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._seconds = {"time/rollout": 0.0, "time/reward": 0.0}
        self._tokens = 0
        self._began = time.perf_counter()

    def add(self, phase: str, seconds: float) -> None:
        """Count seconds to a phase."""
        self._seconds[phase] += seconds

    def add_tokens(self, count: int) -> None:
        """Count sampled tokens."""
        self._tokens += count

    def read(self) -> dict[str, float]:
        """Seconds `time/rollout`, `time/reward`, `time/train` (what is left) and `time/update`; `tokens_per_s` of the
        sampler, when it sampled. Starts anew."""
        total = time.perf_counter() - self._began
        figures = dict(self._seconds)
        figures["time/train"] = total - sum(figures.values())
        figures["time/update"] = total
        if self._tokens and figures["time/rollout"] > 0:
            figures["tokens_per_s"] = self._tokens / figures["time/rollout"]
        self._restart()
        return figures


class TimedPolicy:
    """A policy whose sampling is timed."""

    def __init__(self, policy: Policy, watch: Stopwatch) -> None:
        self._policy = policy
        self._watch = watch
        self.version = policy.version
        self.weights_hash = policy.weights_hash

    def sample(
        self, prompts: Sequence[Prompt], samples_per_prompt: int, *, sampling: Sampling, address: Address
    ) -> list[list[Completion]]:
        """As the policy does, with the clock running."""
        began = time.perf_counter()
        groups = self._policy.sample(prompts, samples_per_prompt, sampling=sampling, address=address)
        self._watch.add("time/rollout", time.perf_counter() - began)
        self._watch.add_tokens(sum(len(completion.token_ids) for group in groups for completion in group))
        return groups

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """As the policy does."""
        self._policy.follow(model, version=version)
        self.version, self.weights_hash = self._policy.version, self._policy.weights_hash


class TimedReward:
    """A reward whose judging is timed."""

    def __init__(self, reward: Reward, watch: Stopwatch) -> None:
        self._reward = reward
        self._watch = watch

    def __call__(self, prompt: Prompt, completion: Completion) -> Score:
        """As the reward does, with the clock running."""
        began = time.perf_counter()
        score = self._reward(prompt, completion)
        self._watch.add("time/reward", time.perf_counter() - began)
        return score
