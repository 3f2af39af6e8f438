"""Where the time of an update goes: sampling, waiting for rewards, and the rest, which is training.

Wrappers around the policy and the reward, so that the algorithm itself holds no clock. Rewards are judged beside
sampling, so only what is still to judge when sampling has ended costs time of its own.
"""

import threading
import time
from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Prompt, Reward, Score
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rewards.beside import needs_group, score_group, workers_of


class Stopwatch:
    """Seconds by phase since the last reading. Safe to use from the threads that judge."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_judging = 0
        self._restart()

    def _restart(self) -> None:
        self._rollout_s = self._waited_s = self._busy_s = self._judging_s = 0.0
        self._num_tokens = self._num_judged = 0
        self._sampled_at = self._judged_at = self._judging_since = self._began = time.perf_counter()

    def sampling(self) -> float:
        """A call of the sampler begins now; the time, to be handed to `sampled`."""
        with self._lock:
            self._settle()
            return time.perf_counter()

    def sampled(self, began: float, num_tokens: int) -> None:
        """A call of the sampler, begun at this time, ends now."""
        with self._lock:
            self._sampled_at = time.perf_counter()
            self._rollout_s += self._sampled_at - began
            self._num_tokens += num_tokens

    def judging(self) -> float:
        """A judgement begins now; the time, to be handed to `judged`."""
        with self._lock:
            now = time.perf_counter()
            if self._num_judging == 0:
                self._judging_since = now
            self._num_judging += 1
            return now

    def judged(self, began: float, count: int) -> None:
        """A judgement of `count` completions, begun at this time, ends now."""
        with self._lock:
            self._judged_at = now = time.perf_counter()
            self._busy_s += now - began
            self._num_judged += count
            self._num_judging -= 1
            if self._num_judging == 0:
                self._judging_s += now - self._judging_since

    def _settle(self) -> None:
        """Between the end of the last sampling and that of its last judgement there was nothing to do but wait."""
        self._waited_s += max(0.0, self._judged_at - self._sampled_at)
        self._sampled_at = self._judged_at

    def read(self) -> dict[str, float]:
        """Seconds `time/rollout`, `time/reward` (waiting after sampling), `time/train` (what is left), `time/update`
        and `reward/busy_s` (of all judgements, added up); `tokens_per_s` of the sampler when it sampled, `reward/per_s`
        completions judged per second of judging when any was. Starts anew."""
        with self._lock:
            self._settle()
            total = time.perf_counter() - self._began
            figures = {
                "time/rollout": self._rollout_s,
                "time/reward": self._waited_s,
                "time/train": total - self._rollout_s - self._waited_s,
                "time/update": total,
                "reward/busy_s": self._busy_s,
            }
            if self._num_tokens and self._rollout_s > 0:
                figures["tokens_per_s"] = self._num_tokens / self._rollout_s
            if self._num_judged and self._judging_s > 0:
                figures["reward/per_s"] = self._num_judged / self._judging_s
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
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        *,
        sampling: Sampling,
        address: Address,
        on_finished: Callable[[Completion], None] | None = None,
    ) -> list[list[Completion]]:
        """As the policy does, with the clock running."""
        began = self._watch.sampling()
        groups = self._policy.sample(
            prompts, samples_per_prompt, sampling=sampling, address=address, on_finished=on_finished
        )
        self._watch.sampled(began, sum(len(completion.token_ids) for group in groups for completion in group))
        return groups

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """As the policy does."""
        self._policy.follow(model, version=version)
        self.version, self.weights_hash = self._policy.version, self._policy.weights_hash


class TimedReward:
    """A reward whose judging is timed; it judges as many at once, and groups, as the reward does."""

    def __init__(self, reward: Reward, watch: Stopwatch) -> None:
        self._reward = reward
        self._watch = watch
        self.workers = workers_of(reward)
        self.needs_group = needs_group(reward)

    def __call__(self, prompt: Prompt, completion: Completion) -> Score:
        """As the reward does, with the clock running."""
        return self.score_group(prompt, [completion])[0]

    def score_group(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]:
        """[G] as the reward does, with the clock running."""
        began = self._watch.judging()
        try:
            return score_group(self._reward, prompt, completions)
        finally:
            self._watch.judged(began, len(completions))
