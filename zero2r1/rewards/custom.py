"""Rewards of one's own: a function in a Python file, named `my_rewards.py::brevity`.

Two forms are understood, told apart by the parameters; either may be `async def`:

* ours, `f(prompt, completion) -> Score | float | None`;
* TRL's, `f(prompts, completions, **columns) -> list[float | None]` (or `f(completions, **columns)`), unchanged. It gets
  all completions of one question in one call (one only where it judges outside a group); columns are lists of the same
  length: `answer` and `solution` (the gold answer), `reference`, `language`, `domain`, `level`, `id`, `completion_ids`.

None means "does not judge this one". What it returns otherwise is checked: a number that is NaN, infinite or none at
all is an error of that completion, and a list of the wrong length an error of the whole group.

What is not here: processes and deadlines (`custom_pool.py`, `custom_worker.py`).
"""

import asyncio
import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from zero2r1.core.errors import RewardError
from zero2r1.core.types import Completion, Prompt, Score, Verdict

TRLFormat = Literal["auto", "text", "messages"]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reward of one's own says of one completion."""

    value: float | None
    """None when it does not judge, or could not."""
    note: str = ""
    is_error: bool = False
    """True when it could not judge though it should have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomReward:
    """A function of one of the two forms."""

    judge: Callable[[Prompt, Sequence[Completion]], list[object]]
    """[G] what the function returned for each completion of one question. Raises what the function raises."""
    needs_group: bool
    """True for TRL's form, which sees a whole group at once."""

    def __call__(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Opinion]:
        """[G] opinions on completions of one question; whatever goes wrong is an error with the reason."""
        try:
            return [opinion(judged) for judged in self.judge(prompt, completions)]
        except Exception as problem:  # noqa: BLE001  untrusted border: the failure becomes a counted verdict
            return [Opinion(None, _raised(problem), is_error=True) for _ in completions]


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
        return CustomReward(judge=_from_trl(function, parameters, trl_format), needs_group=True)
    if len(_positional(parameters)) < 2 and not _has(parameters, inspect.Parameter.VAR_POSITIONAL):
        raise RewardError(
            "Z141",
            f"the reward {source!r} has a wrong signature",
            where=str(path),
            why=f"its parameters are ({', '.join(parameters)})",
            fix="def brevity(prompt, completion) -> float, or TRL's def brevity(prompts, completions, **columns)",
        )
    return CustomReward(judge=_from_ours(function), needs_group=False)


def opinion(judged: object) -> Opinion:
    """What a function returned for one completion: a `Score`, a number, None, or something that is an error."""
    try:
        if isinstance(judged, Score):
            is_error = judged.verdict is Verdict.ERROR or judged.value is None
            return Opinion(as_number(judged.value), "; ".join(judged.notes), is_error=is_error)
        return Opinion(as_number(judged), "does not judge this completion" if judged is None else "")
    except Exception as problem:  # noqa: BLE001  untrusted border: even float() of a foreign number may raise
        return Opinion(None, _raised(problem), is_error=True)


def _raised(problem: Exception) -> str:
    return f"raised {type(problem).__name__}: {str(problem)[:300]}"


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


def _awaited(returned: object) -> Any:
    """The result of a function, or of the coroutine an `async def` returned."""
    return asyncio.run(returned) if inspect.iscoroutine(returned) else returned


def _from_ours(function: Callable[..., Any]) -> Callable[[Prompt, Sequence[Completion]], list[object]]:
    def judge(prompt: Prompt, completions: Sequence[Completion]) -> list[object]:
        return [_awaited(function(prompt, completion)) for completion in completions]

    return judge


def _from_trl(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], trl_format: TRLFormat
) -> Callable[[Prompt, Sequence[Completion]], list[object]]:
    takes_all = _has(parameters, inspect.Parameter.VAR_KEYWORD)

    def judge(prompt: Prompt, completions: Sequence[Completion]) -> list[object]:
        columns = trl_columns(prompt, completions, trl_format)
        given = {name: column for name, column in columns.items() if takes_all or name in parameters}
        rewards = list(_awaited(function(**given)))
        if len(rewards) != len(completions):
            raise RewardError("Z141", f"the reward returned {len(rewards)} numbers for {len(completions)} completions")
        return rewards

    return judge


def trl_columns(prompt: Prompt, completions: Sequence[Completion], trl_format: TRLFormat) -> dict[str, list[Any]]:
    """The keyword arguments TRL would pass for completions of one question: [G] lists, the question repeated."""
    is_text = trl_format == "text" or (trl_format == "auto" and len(prompt.messages) == 1)
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    texts = [completion.text for completion in completions]
    repeated = {
        "prompts": prompt.question if is_text else turns,
        "answer": prompt.gold,
        "solution": prompt.gold,
        "reference": prompt.reference,
        "language": prompt.language,
        "domain": prompt.domain,
        "level": prompt.level,
        "id": prompt.id,
    }
    return {
        **{name: [value] * len(completions) for name, value in repeated.items()},
        "completions": texts if is_text else [[{"role": "assistant", "content": text}] for text in texts],
        "completion_ids": [list(completion.token_ids) for completion in completions],
    }
