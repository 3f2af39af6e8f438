"""TaskConfig: what a recipe may say, and what it is told when it says something else."""

from pathlib import Path

import pytest

from zero2r1.core.config import load_yaml, validate
from zero2r1.core.errors import CODES, ConfigError, DataError
from zero2r1.tasks.base import TaskConfig, make_task


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("family: geometry", "unknown family 'geometry': it is one of arithmetic, number_facts, chain"),
        ("languages: [en, fr]", r"languages are a list out of en, zh, got \['en', 'fr'\]"),
        ("languages: []", "languages are a list out of en, zh"),
        ("levels: [0]", r"levels are a list out of 1 to 5, got \[0\]"),
        ("operations: ['/']", r"family 'arithmetic' has only \+ - \*, got \['/'\]"),
        ("family: ordering\noperations: ['+']", "family 'ordering' has no operations to choose from"),
        ("family: file", "family 'file' and a 'file' go together"),
        ("file: a.jsonl", "family 'file' and a 'file' go together"),
        ("weight: 0", "weight"),
        ("level: [1]", "'level'"),
        ("answer_kind: maths", "answer_kind"),
    ],
)
def test_a_wrong_task_config_is_an_error_that_says_what_is_known(tmp_path: Path, yaml: str, message: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(yaml, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        validate(TaskConfig, load_yaml(path))


def test_a_recipe_can_restrict_operations(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("operations: ['+', '-']\nlevels: [1, 2]\nweight: 2", encoding="utf-8")
    config = validate(TaskConfig, load_yaml(path))
    assert config.operations == ("+", "-")
    assert all("*" not in prompt.question for prompt in make_task([config], 0).draw(40))


def test_equal_configs_count_as_one_key() -> None:
    first = TaskConfig(family="file", file="a.csv", columns={"question": "q", "answer": "a"})
    second = TaskConfig(family="file", file="a.csv", columns={"answer": "a", "question": "q"})
    assert len({first, second, TaskConfig(), TaskConfig()}) == 2


def test_no_task_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="Z136 no task given"):
        make_task([], 0)


def test_every_code_this_room_uses_has_an_explanation() -> None:
    assert {f"Z13{digit}" for digit in range(7)} <= set(CODES)
