"""Repairs: an issue, the project's sources, and unit tests that fail until the right file is corrected.

A template is a small project with one mistake. `fix` corrects it, `half_fix` looks like it does: the hidden tests tell
the two apart. `@a` stands for a parameter, as in `code_templates.py`. The reply names each file it replaces:

    ```python path=shop/prices.py
    (the whole file)
    ```

What is not here: the projects (`code_repairs_first.py`, `code_repairs_second.py`) and running their tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from zero2r1.core.problems import CodeProblem, Form
from zero2r1.core.types import AnswerKind, Message, Prompt
from zero2r1.tasks.code_templates import Params, filled

Edit = tuple[str, str, str]
"""Path, what stands there, what replaces it."""

OPENING: Mapping[str, str] = MappingProxyType(
    {"en": "A project has this issue:\n\n{issue}\n\nIts files:", "zh": "某个项目有如下问题：\n\n{issue}\n\n项目文件："}
)
ANSWER_FORM: Mapping[str, str] = MappingProxyType(
    {
        "en": "Correct the project so that its unit tests pass. Give every file you change, whole, in a block that "
        "begins "
        "with ```python path=FILE and ends with ```, as above.",
        "zh": "请修正项目，使其单元测试通过。给出每个被修改的文件的完整内容，写在以```python path=文件名开头、"
        "以```结尾的代码块中，格式同上。",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RepairTemplate:
    """A project with a mistake. Two templates are never equal."""

    name: str
    level: int
    en: str
    zh: str
    """The issue: what a user sees, not where the mistake is."""
    files: Mapping[str, str]
    """Path -> text, with the mistake."""
    fix: tuple[Edit, ...]
    half_fix: tuple[Edit, ...]
    """A wrong correction that hidden tests reject."""
    tests: str
    """One test module of plain functions."""
    params: Mapping[str, Sequence[object]]


def repair(
    name: str,
    level: int,
    en: str,
    zh: str,
    files: Mapping[str, str],
    fix: Sequence[Edit],
    half_fix: Sequence[Edit],
    tests: str,
    params: Mapping[str, Sequence[object]],
) -> RepairTemplate:
    """A `RepairTemplate` in the order of its fields, with the line breaks around its texts cut to one."""
    texts = {path: f"{text.strip()}\n" for path, text in files.items()}
    for path, old, _ in (*fix, *half_fix):
        if old not in texts[path]:
            raise ValueError(f"{name}: an edit of {path} replaces what is not there: {old!r}")
    return RepairTemplate(
        name=name, level=level, en=en, zh=zh, files=MappingProxyType(texts), fix=tuple(fix), half_fix=tuple(half_fix),
        tests=f"{tests.strip()}\n", params=MappingProxyType(dict(params)),
    )  # fmt: skip


def repair_prompt(made: RepairTemplate, params: Params, language: str) -> Prompt:
    """A repair as a prompt: the issue, every file, and the form of the answer.

    Args:
        made: the project.
        params: a value for each of its parameters.
        language: `zh`, else English.
    """
    files = {path: filled(text, params) for path, text in made.files.items()}
    issue = filled(made.zh if language == "zh" else made.en, params)
    question = [OPENING[language].format(issue=issue), blocks_of(files), ANSWER_FORM[language]]
    problem = CodeProblem(form=Form.REPAIR, test_code=filled(made.tests, params), files=files)
    return Prompt(
        messages=(Message(role="user", content="\n\n".join(question)),),
        reference=problem.to_reference(),
        gold=blocks_of(changed_files(made, params)),
        answer_kind=AnswerKind.CODE,
        domain="code_repair",
        language=language,
        level=made.level,
    )


def changed_files(made: RepairTemplate, params: Params, *, is_half: bool = False) -> dict[str, str]:
    """The files that the right correction (or the wrong one) changes, whole."""
    changed: dict[str, str] = {}
    for path, old, new in made.half_fix if is_half else made.fix:
        changed[path] = changed.get(path, made.files[path]).replace(old, new)
    return {path: filled(text, params) for path, text in changed.items()}


def blocks_of(files: Mapping[str, str]) -> str:
    """Files as fenced blocks, each with its path behind the language."""
    return "\n\n".join(f"```python path={path}\n{text}```" for path, text in files.items())
