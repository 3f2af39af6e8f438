"""`zero2r1 data check`: read questions, count what is wrong with them, prove that gold answers score."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zero2r1.cli.output import UNSAFE_OVERRIDE
from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import UserError
from zero2r1.core.types import Prompt, Task
from zero2r1.rewards.base import RewardConfig, VerdictConfig, make_reward
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.tasks.base import TaskConfig, make_task, split_of, validate
from zero2r1.tasks.files import parse_source, read_file

SAMPLE = 200
"""Questions of an endless task that are looked at."""


def check_questions(source: str, pairs: Sequence[str], count: int, *, unsafe: bool = False) -> dict[str, Any]:
    """What `data check` reports of a file or of a recipe's tasks.

    Raises:
        DataError: an unreadable file, no usable row, or a gold answer that does not score 1 (Z134).
    """
    if parse_source(source)[0].suffix.lower() in (".jsonl", ".csv"):
        return _check_file(source, column_map(pairs), count, unsafe)
    if pairs:
        raise UserError("Z107", "--map is for a file", fix="a recipe names its columns: tasks.0.columns")
    return _check_recipe(source, count, unsafe)


def _check_file(source: str, columns: dict[str, str], count: int, unsafe: bool) -> dict[str, Any]:
    data = read_file(source, columns=columns)
    task = make_task([TaskConfig(family="file", file=source, columns=columns)], seed=0)
    verdicts = VerdictConfig(code=CodeConfig(sandbox=SandboxConfig(unsafe_local_exec=unsafe)))
    splits = Counter(split_of(prompt.id) for prompt in data.prompts)
    return {
        "file": str(Path(source)),
        "rows": data.num_rows,
        "usable": len(data.prompts),
        "refused": data.refusals() or "none",
        "splits": ", ".join(f"{name} {splits[name]}" for name in ("train", "validation", "test")),
        **_what_they_are(data.prompts),
        "gold answers": _prove_gold(task, min(count, splits["train"] or count), verdicts),
        "examples": _examples(data.prompts),
    }


def _check_recipe(name: str, count: int, unsafe: bool) -> dict[str, Any]:
    from zero2r1 import recipes

    recipe = recipes.load(name, [UNSAFE_OVERRIDE] if unsafe else ())
    configs = {stage.tasks: stage.verdicts for stage in recipe.stages.values()}
    prompts: list[Prompt] = []
    checked = []
    for config, verdicts in configs.items():
        task = make_task(config, seed=recipe.seed)
        prompts += task.draw(SAMPLE)
        checked.append(_prove_gold(task, count, verdicts))
    return {
        "recipe": recipe.name,
        "looked at": len(prompts),
        **_what_they_are(prompts),
        "gold answers": "; ".join(checked),
        "examples": _examples(prompts),
    }


def _what_they_are(prompts: Sequence[Prompt]) -> dict[str, str]:
    def counted(values: list[str]) -> str:
        return ", ".join(f"{name} {number}" for name, number in sorted(Counter(values).items()))

    return {
        "languages": counted([prompt.language for prompt in prompts]),
        "levels": counted([str(prompt.level) for prompt in prompts]),
        "domains": counted([prompt.domain for prompt in prompts]),
        "answers": counted([prompt.answer_kind.value for prompt in prompts]),
    }


def _prove_gold(task: Task, count: int, verdicts: VerdictConfig) -> str:
    with make_reward(RewardConfig(), dialect=Dialect.R1_ZERO, verdicts=verdicts) as reward:
        validate(task, reward, count)
    return f"{count} scored 1"


def _examples(prompts: Sequence[Prompt], number: int = 3) -> list[dict[str, str]]:
    return [
        {"id": p.id, "question": p.question, "gold": p.gold, "language": p.language, "split": split_of(p.id)}
        for p in prompts[:number]
    ]


def column_map(pairs: Sequence[str]) -> dict[str, str]:
    """`["answer=solution"]` as `{"answer": "solution"}`. Raises UserError Z107 for a pair without `=`."""
    mapping = {}
    for pair in pairs:
        ours, equals, yours = pair.partition("=")
        if not equals or not ours or not yours:
            raise UserError("Z107", f"bad column map {pair!r}", why="it reads ours=yours", fix="--map answer=solution")
        mapping[ours] = yours
    return mapping
