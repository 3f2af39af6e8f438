"""A rollout: questions drawn, sampled, scored and credited, and the figures that describe it.

Rules, each stated once:
* truncated outputs (`overlong`): `keep` scores them like any other; `mask` takes them out of the loss and of its
  normaliser, but their reward stays in the baseline; `soft` subtracts a share of 1 as they near the cap;
* outputs that could not be graded take no part in the baseline, the loss or its normaliser. A reward that is NaN or
  infinite is such an output: it becomes None with a note;
* a group without variance keeps its place in the normaliser with advantage exactly 0. So without a KL term it gives
  exactly zero gradient, and with one it is still held to the reference policy;
* dynamic sampling looks at the reward that the advantage sees (with the soft punishment in it).

Deviations from the paper: it states none of these.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from zero2r1.core.dialogue import REFLECTIVE_WORDS
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import (
    AnswerKind,
    Credited,
    Finish,
    Prompt,
    Reward,
    Score,
    Scored,
    Task,
    Verdict,
)
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rewards.beside import Beside
from zero2r1.rl.advantage import group_advantages, has_no_variance
from zero2r1.rl.config import RLConfig

Group = list[Credited]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What one policy said to some questions, credited and ready to be dealt into mini-batches."""

    groups: tuple[Group, ...]
    """[P][G]"""
    next_prompt: int
    """Index of the first question of the task that no rollout has drawn yet."""
    max_new_tokens: int
    """The length cap it was sampled under."""
    num_groups_dropped: int = 0
    """Groups without variance that dynamic sampling replaced."""

    @property
    def rows(self) -> list[Credited]:
        return [row for group in self.groups for row in group]


def sample(
    *,
    policy: Policy,
    task: Task,
    reward: Reward,
    config: RLConfig,
    address: Address,
    first_prompt: int,
    max_new_tokens: int,
) -> Rollout:
    """Draws prompts_per_step * minibatches questions from `first_prompt` on and samples, scores and credits them.

    Outputs are scored while others are still being sampled. The result does not depend on which score came first.
    With dynamic sampling, groups without variance make room for further questions, for at most
    `dynamic_sampling_rounds` draws in all; then the last ones dropped fill the rollout up.
    """
    wanted = config.prompts_per_step * config.minibatches
    sampling = Sampling(temperature=config.temperature, max_new_tokens=max_new_tokens, stop=config.stop)
    kept: list[Group] = []
    dropped: list[Group] = []
    cursor = first_prompt
    for _ in range(config.dynamic_sampling_rounds if config.dynamic_sampling else 1):
        prompts = task.draw(wanted - len(kept), start=cursor)
        cursor += len(prompts)
        for outputs in _scored(policy, reward, prompts, config, sampling, address):
            group = credit(outputs, config, max_new_tokens=max_new_tokens)
            teaches = any(row.advantage != 0.0 for row in group)
            (kept if teaches or not config.dynamic_sampling else dropped).append(group)
        if len(kept) >= wanted:
            break
    missing = wanted - len(kept)
    filled = [*kept, *dropped[-missing:]] if missing > 0 else kept
    return Rollout(
        groups=tuple(filled),
        next_prompt=cursor,
        max_new_tokens=max_new_tokens,
        num_groups_dropped=len(kept) + len(dropped) - len(filled),
    )


def _scored(
    policy: Policy,
    reward: Reward,
    prompts: Sequence[Prompt],
    config: RLConfig,
    sampling: Sampling,
    address: Address,
) -> list[list[Scored]]:
    """[P][G] outputs with their rewards."""
    with Beside(reward, prompts, config.samples_per_prompt) as judge:
        groups = policy.sample(
            prompts, config.samples_per_prompt, sampling=sampling, address=address, on_finished=judge.take
        )
        scores = judge.gather(groups)
    return [
        [Scored(completion=output, score=finite(score)) for output, score in zip(*pair, strict=True)]
        for pair in zip(groups, scores, strict=True)
    ]


def finite(score: Score) -> Score:
    """The score as it is, or without its value and with a note when that is NaN or infinite: an error."""
    if score.value is None or math.isfinite(score.value):
        return score
    note = f"the reward was {score.value}, which is no number to learn from"
    return replace(score, value=None, verdict=Verdict.ERROR, notes=(*score.notes, note))


def overlong_penalty(num_tokens: int, *, max_new_tokens: int, buffer_frac: float) -> float:
    """Soft punishment of an output of `num_tokens` tokens, in units of the reward, from -1 to 0.

    0 up to start = cap - buffer; (start - tokens) / buffer inside the buffer; -1 from the cap on; buffer = frac * cap.
    Source: DAPO (arXiv 2503.14476), soft overlong punishment.
    """
    buffer = buffer_frac * max_new_tokens
    start = max_new_tokens - buffer
    return -min(1.0, max(0.0, (num_tokens - start) / buffer))


def credit(group: Sequence[Scored], config: RLConfig, *, max_new_tokens: int) -> Group:
    """[G] the outputs of one question with their advantages, under the rules at the head of this file."""
    rewards = [_shaped(scored, config, max_new_tokens) for scored in group]
    advantages = group_advantages(rewards, name=config.advantage, std=config.std, epsilon=config.std_epsilon)
    return [
        Credited(scored=scored, advantage=0.0 if masked else advantage, masked=masked)
        for scored, advantage, masked in zip(
            group, advantages, (_is_masked(scored, config) for scored in group), strict=True
        )
    ]


def _shaped(scored: Scored, config: RLConfig, max_new_tokens: int) -> float | None:
    value = scored.score.value
    if value is None or config.overlong != "soft":
        return value
    penalty = overlong_penalty(
        len(scored.completion.token_ids), max_new_tokens=max_new_tokens, buffer_frac=config.overlong_buffer_frac
    )
    return value + penalty


def _is_masked(scored: Scored, config: RLConfig) -> bool:
    is_truncated = scored.completion.finish is Finish.LENGTH
    return scored.score.value is None or (is_truncated and config.overlong == "mask")


def split(rollout: Rollout, config: RLConfig, *, address: Address) -> list[list[Credited]]:
    """Deals the rows at random into `minibatches` parts whose sizes differ by at most one output (or group).

    Masked rows are dealt like the others, so that a part is the same whatever its neighbours' fate.
    Source: DeepSeek-R1 (arXiv 2501.12948v2), training details of R1-Zero: outputs randomly split into mini-batches.
    """
    stream = Stream(key(address, "split"))
    if config.split == "outputs":
        units: list[Group] = [[row] for row in rollout.rows]
    else:
        units = list(rollout.groups)
    shuffled = stream.shuffle(units)
    return [
        [row for unit in shuffled[part :: config.minibatches] for row in unit] for part in range(config.minibatches)
    ]


def figures(rollout: Rollout) -> dict[str, float]:
    """What a rollout was like, by the names of the metrics log. Figures without any row behind them are left out.

    `reward/mean` and `reward/<part>/mean` over judged rows; `reward/zero_std_frac` share of groups whose judged rewards
    are equal; `reward/error_frac`; `accuracy` share of right answers among the questions that have one;
    `length/mean` in tokens; `length/truncated_frac`; `reflective_words` per output.
    """
    rows = rollout.rows
    scores = [row.scored.score for row in rows]
    completions = [row.scored.completion for row in rows]
    answered = [
        row.scored.score.verdict is Verdict.RIGHT
        for row in rows
        if row.scored.score.verdict is not Verdict.ERROR
        and row.scored.completion.prompt.answer_kind is not AnswerKind.NONE
    ]
    parts: dict[str, list[float]] = defaultdict(list)
    for part, value in ((name, value) for score in scores for name, value in score.parts.items()):
        if value is not None and math.isfinite(value):
            parts[part].append(value)
    values: dict[str, Sequence[float]] = {
        "reward/mean": [score.value for score in scores if score.value is not None],
        "reward/zero_std_frac": [_has_equal_rewards(group) for group in rollout.groups],
        "reward/error_frac": [score.value is None for score in scores],
        "accuracy": answered,
        "length/mean": [len(completion.token_ids) for completion in completions],
        "length/truncated_frac": [completion.finish is Finish.LENGTH for completion in completions],
        "reflective_words": [count_reflective_words(completion.text) for completion in completions],
        **{f"reward/{name}/mean": numbers for name, numbers in parts.items()},
    }
    named = {name: fmean(numbers) for name, numbers in values.items() if numbers}
    return named | {"rollout/groups_dropped": float(rollout.num_groups_dropped)}


def error_reasons(rows: Iterable[Credited]) -> dict[str, int]:
    """How often each reason is given by the rows that could not be graded, most frequent first.

    A reason is the note of a part without a value, or one that belongs to no part; a row without any counts as such.
    """
    reasons: Counter[str] = Counter()
    for score in (row.scored.score for row in rows if row.scored.score.value is None):
        judged = tuple(f"{name}: " for name, value in score.parts.items() if value is not None)
        reasons.update([note for note in score.notes if not note.startswith(judged)] or ["no reason given"])
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def _has_equal_rewards(group: Iterable[Credited]) -> bool:
    return has_no_variance([row.scored.score.value for row in group])


def count_reflective_words(text: str) -> int:
    """Occurrences of the reflective words in a text, as whole words in any case.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), self-evolution of R1-Zero, the list of reflective words.
    """
    alternatives = "|".join(re.escape(word) for word in REFLECTIVE_WORDS)
    return len(re.findall(rf"\b(?:{alternatives})\b", text, flags=re.IGNORECASE))
