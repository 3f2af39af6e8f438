"""Judging beside sampling: finished completions are judged in threads while the sampler goes on with the others.

    with Beside(reward, prompts, samples_per_prompt) as judge:
        groups = policy.sample(prompts, samples_per_prompt, ..., on_finished=judge.take)
        scores = judge.gather(groups)

The scores are ordered like the completions and depend on the reward only, not on which judgement ended first. What the
sampler does not hand over while it works is judged at the end, so a sampler that tells nothing is right but slow.

What is not here: deadlines. A reward that computes for long holds the interpreter lock unless it works in processes,
as those of `base.make_reward` do.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Protocol, runtime_checkable

from zero2r1.core.types import Completion, Prompt, Reward, Score


@runtime_checkable
class ManyAtOnce(Protocol):
    """A reward that says how many judgements may run at once; any other is asked by one thread at a time."""

    workers: int


@runtime_checkable
class GroupReward(Protocol):
    """A reward that can judge the completions of one question together, and says whether it needs to."""

    needs_group: bool

    def score_group(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]: ...


def workers_of(reward: Reward) -> int:
    """How many judgements of a reward may run at once. Ours: a reward that does not say may not be thread-safe: 1."""
    return reward.workers if isinstance(reward, ManyAtOnce) else 1


def needs_group(reward: Reward) -> bool:
    """Whether a reward wants the completions of a question together."""
    return isinstance(reward, GroupReward) and reward.needs_group


def score_group(reward: Reward, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]:
    """[G] scores of completions of one question: in one call where the reward can, else one by one.

    Raises:
        ValueError: the reward returned another number of scores.
    """
    if not isinstance(reward, GroupReward):
        return [reward(prompt, completion) for completion in completions]
    scores = reward.score_group(prompt, completions)
    if len(scores) != len(completions):
        raise ValueError(f"the reward returned {len(scores)} scores for {len(completions)} completions")
    return scores


class _Judgement:
    """Completions that are judged together, and what becomes of them."""

    def __init__(self, completions: Sequence[Completion]) -> None:
        self.completions = tuple(completions)
        self.scores: Future[list[Score]] = Future()

    def run(self, reward: Reward) -> None:
        try:
            self.scores.set_result(score_group(reward, self.completions[0].prompt, self.completions))
        except BaseException as problem:  # noqa: BLE001  untrusted border: `gather` raises it in the caller's thread
            self.scores.set_exception(problem)


class Beside:
    """Judges the completions of one call of a sampler. Close it, or use it in a `with`.

    Args:
        reward: judges; asked by as many threads as it says it can bear.
        prompts: of the call.
        samples_per_prompt: size of a group.
    """

    def __init__(self, reward: Reward, prompts: Sequence[Prompt], samples_per_prompt: int) -> None:
        self._reward = reward
        self._size = samples_per_prompt if needs_group(reward) else 1
        self._workers = workers_of(reward)
        self._times_asked = Counter(prompt.id for prompt in prompts)
        self._waiting: SimpleQueue[_Judgement | None] = SimpleQueue()
        self._judged: dict[int, tuple[_Judgement, int]] = {}
        """By identity of a completion (the judgement keeps it alive): its judgement and its place there."""
        self._partial: dict[str, list[Completion]] = defaultdict(list)
        """By prompt id: completions whose group is not whole yet."""
        self._threads: list[threading.Thread] = []

    def take(self, completion: Completion) -> None:
        """A completion is finished: judge it, or its group when this one makes it whole. Returns at once."""
        if self._size == 1:
            self._submit([completion])
            return
        prompt_id = completion.prompt.id
        if self._times_asked[prompt_id] > 1:
            return  # groups of equal questions cannot be told apart before they are handed back
        group = self._partial[prompt_id]
        group.append(completion)
        if len(group) == self._size:
            del self._partial[prompt_id]
            self._submit(sorted(group, key=lambda one: one.sample))

    def gather(self, groups: Sequence[Sequence[Completion]]) -> list[list[Score]]:
        """[P][G] the scores, when all are there.

        Raises:
            whatever the reward raised: the first problem in the order of the completions.
        """
        for group in groups:
            new = [completion for completion in group if id(completion) not in self._judged]
            for start in range(0, len(new), self._size):
                self._submit(new[start : start + self._size])
        return [[self._score_of(completion) for completion in group] for group in groups]

    def close(self, *, wait: bool = True) -> None:
        """Forget what is not begun and end the threads.

        Args:
            wait: for judgements that are running; else their threads end by themselves, as soon as they can.
        """
        try:
            while True:
                self._waiting.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._waiting.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
        self._threads = []

    def __enter__(self) -> "Beside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupted or failed call must end now, not when a slow reward has finished.
        self.close(wait=problem is None)

    def _score_of(self, completion: Completion) -> Score:
        judgement, place = self._judged[id(completion)]
        return judgement.scores.result()[place]

    def _submit(self, completions: Sequence[Completion]) -> None:
        judgement = _Judgement(completions)
        self._judged |= {id(completion): (judgement, place) for place, completion in enumerate(completions)}
        self._waiting.put(judgement)
        if len(self._threads) < self._workers:
            thread = threading.Thread(target=self._work, name="reward-beside", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (judgement := self._waiting.get()) is not None:
            judgement.run(self._reward)
