"""Every command, setting, target, link and metric the documentation names exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import ROOT, commands, documents, make_targets

from zero2r1.cli.app import make_app
from zero2r1.core.config import describe
from zero2r1.core.errors import UserError
from zero2r1.recipes import Recipe

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
OVERRIDE = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+(?==)|[a-z_]+(?==)")


def tree() -> Any:
    """The command line as an object to walk."""
    return typer.main.get_command(make_app())


def problems(arguments: str) -> list[str]:
    """What of a shown command the command line does not know."""
    words = shlex.split(arguments.rstrip(".,;:"))
    command, path = tree(), []
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return [f"no verb {' '.join([*path, words[0]])}"]
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in {*known, "--help"}]
    return [f"no flag {flag} of {' '.join(path) or 'zero2r1'}" for flag in unknown] + bad_overrides(words)


def bad_overrides(words: list[str]) -> list[str]:
    """Settings `a.b=c` that no recipe has. Column maps (`answer=solution`) have no dot and are left alone."""
    bad = []
    for word in words:
        match = OVERRIDE.match(word)
        if match and "." in match.group(0):
            try:
                describe(Recipe, match.group(0))
            except UserError as error:
                bad.append(str(error))
    return bad


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_shown_command_exists(path: Path):
    found = {shown: problems(shown) for shown in commands(text_of(path))}
    assert {shown: wrong for shown, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_shown_make_target_exists(path: Path):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(make_targets(text_of(path))) <= set(targets)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path):
    links = [link for link in LINK.findall(text_of(path)) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_verb_is_shown_somewhere():
    shown = " ".join(command for path in documents() for command in commands(text_of(path)))
    verbs = list(tree().commands)
    assert [verb for verb in verbs if verb not in shown] == []


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ("rum tiny", "no verb rum"),
        ("run tiny --dry", "no flag --dry of run"),
        ("run tiny rl.kl_coeff=1", "rl.kl_coeff"),
        ("recipes lss", "no verb recipes lss"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(shown: str, says: str):
    assert says in problems(shown)[0]


def test_a_command_that_exists_passes():
    assert problems("run smollm2-zero rl.steps=30 --only zero --json") == []
