"""Rewards of one's own: a function in a Python file, named `my_rewards.py::brevity`.

Two forms are understood, told apart by the parameters:

* ours, `f(prompt, completion) -> Score | float | None`;
* TRL's, `f(prompts, completions, **columns) -> list[float | None]` (or `f(completions, **columns)`), unchanged. It is
  called with one completion at a time; columns are lists of one: `answer` and `solution` (the gold answer),
  `reference`, `language`, `domain`, `level`, `id`, `completion_ids`. `async def` works too.

None means "does not judge this one". What is not here: rewards that compare the completions of a group with one
another, and any protection from the function itself: the file is the user's own code and runs in this process.
"""

import asyncio
import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from zero2r1.core.errors import RewardError
from zero2r1.core.types import Completion, Prompt, Score

TRLFormat = Literal["auto", "text", "messages"]
Judged = Score | float | None
CustomReward = Callable[[Prompt, Completion], Judged]


def load_custom(source: str, *, folder: Path | str = ".", trl_format: TRLFormat = "auto") -> CustomReward:
    """The reward named `file.py::function`, in our form whatever form it was written in.

    Args:
        source: path of the file, relative to `folder`, two colons, name of the function.
        folder: where relative paths start.
        trl_format: how TRL's form gets prompts and completions: `text` as strings, `messages` as lists of messages,
            `auto` as strings when the prompt is one user turn, else as messages.

    Raises:
        RewardError: file or function missing (Z140), or parameters of neither form (Z141).
    """
    file, colons, name = source.partition("::")
    path = Path(folder) / file
    if not colons or not name:
        raise RewardError("Z140", f"{source!r} does not name a function", fix="write it as my_rewards.py::brevity")
    if not path.is_file():
        raise RewardError("Z140", "the file of a custom reward is missing", where=str(path), fix=f"reward {source!r}")
    function = getattr(_load(path), name, None)
    if not callable(function):
        raise RewardError("Z140", f"the file has no function {name!r}", where=str(path), fix=f"reward {source!r}")
    parameters = _parameters(function, source)
    if "completions" in parameters:
        return _from_trl(function, parameters, trl_format)
    if len(_positional(parameters)) < 2 and not _has(parameters, inspect.Parameter.VAR_POSITIONAL):
        raise RewardError(
            "Z141",
            f"the reward {source!r} has a wrong signature",
            where=str(path),
            why=f"its parameters are ({', '.join(parameters)})",
            fix="def brevity(prompt, completion) -> float, or TRL's def brevity(prompts, completions, **columns)",
        )
    return function


def as_number(judged: object) -> float | None:
    """What a custom reward returned, as a finite float or None.

    Raises:
        RewardError: it is no number, NaN or infinite (Z143).
    """
    if judged is None:
        return None
    if not isinstance(judged, Real) or not math.isfinite(judged):
        raise RewardError("Z143", f"the reward returned {judged!r}, not a finite number")
    return float(judged)


def _load(path: Path) -> Any:
    """The file as a module under a name of its own, so that two files named alike do not meet."""
    path = path.resolve()
    name = f"zero2r1_custom_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RewardError("Z140", "the file of a custom reward is not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses inside the file look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        sys.modules.pop(name, None)
        why = f"{type(problem).__name__}: {problem}"
        raise RewardError(
            "Z140",
            "the file of a custom reward cannot be imported",
            where=str(path),
            why=why,
            fix=f"correct the file: python {path} shows the same error",
        ) from problem
    return module


def _parameters(function: Callable[..., Any], source: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as problem:
        raise RewardError("Z141", f"the parameters of the reward {source!r} cannot be read") from problem


def _positional(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in parameters.items() if parameter.kind in kinds]


def _has(parameters: Mapping[str, inspect.Parameter], kind: inspect._ParameterKind) -> bool:
    return any(parameter.kind is kind for parameter in parameters.values())


def _from_trl(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], trl_format: TRLFormat
) -> CustomReward:
    takes_all = _has(parameters, inspect.Parameter.VAR_KEYWORD)

    def reward(prompt: Prompt, completion: Completion) -> Judged:
        columns = trl_columns(prompt, completion, trl_format)
        rewards = function(**{name: column for name, column in columns.items() if takes_all or name in parameters})
        if inspect.iscoroutine(rewards):
            rewards = asyncio.run(rewards)
        rewards = list(rewards)
        if len(rewards) != 1:
            raise RewardError("Z141", f"the reward returned {len(rewards)} numbers for 1 completion")
        return as_number(rewards[0])

    return reward


def trl_columns(prompt: Prompt, completion: Completion, trl_format: TRLFormat) -> dict[str, list[Any]]:
    """The keyword arguments TRL would pass for this one completion: every column is a list of one."""
    is_text = trl_format == "text" or (trl_format == "auto" and len(prompt.messages) == 1)
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    said = [{"role": "assistant", "content": completion.text}]
    return {
        "prompts": [prompt.question if is_text else turns],
        "completions": [completion.text if is_text else said],
        "completion_ids": [list(completion.token_ids)],
        "answer": [prompt.gold],
        "solution": [prompt.gold],
        "reference": [prompt.reference],
        "language": [prompt.language],
        "domain": [prompt.domain],
        "level": [prompt.level],
        "id": [prompt.id],
    }
