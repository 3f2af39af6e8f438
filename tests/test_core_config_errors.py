"""Golden texts: what a user reads when a config is wrong."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from zero2r1.core.config import Strict, load, validate
from zero2r1.core.errors import ConfigError, UserError
from zero2r1.core.types import AnswerKind


class RLPart(Strict):
    steps: int = 16
    """Number of updates."""
    samples_per_prompt: int = 16
    """Group size."""
    kl_coef: float = Field(default=0.001, ge=0.0)
    """Weight of the KL term."""
    algorithm: Literal["grpo", "dapo"] = "grpo"
    """Which row of the table."""
    clip_low: float = 0.2
    """Lower clip."""
    clip_high: float = 10.0
    """Upper clip."""

    @model_validator(mode="after")
    def _clips_are_ordered(self) -> "RLPart":
        if self.clip_low > self.clip_high:
            raise ValueError("clip_low is above clip_high")
        return self

    @field_validator("steps")
    @classmethod
    def _steps_are_even(cls, steps: int) -> int:
        if steps % 2:
            raise UserError("Z105", f"{steps} steps are odd", fix="rl.steps=2")
        return steps


class Zero(Strict):
    kind: Literal["zero_rl"] = "zero_rl"
    """Kind."""
    rl: RLPart = RLPart()
    """Its loop."""


class Tune(Strict):
    kind: Literal["sft"] = "sft"
    """Kind."""
    epochs: int = 2
    """Passes over the rows."""


class Recipe(Strict):
    name: str
    """Name of the run."""
    rl: RLPart = RLPart()
    """Reinforcement learning."""
    stages: dict[str, Annotated[Zero | Tune, Field(discriminator="kind")]] = Field(default={})
    """By name."""
    languages: tuple[Literal["en", "zh"], ...] = ("en",)
    """Of the questions."""
    answer_kind: AnswerKind = AnswerKind.NUMBER
    """How answers are compared."""


def complaint(folder: Path, text: str, *overrides: str) -> str:
    """The error text for a file of this content, read as my.yaml."""
    (folder / "my.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        validate(Recipe, load(folder / "my.yaml", overrides, resolve_base=lambda name, child: child.parent / name))
    return str(raised.value).replace(f"{folder}/", "")


GOLDEN: dict[str, tuple[str, tuple[str, ...], str]] = {
    "unknown key": (
        "name: x\nrl:\n  samples_per_prompt: 16\n  kl_coeff: 0.001\n",
        (),
        """\
error Z104 unknown key 'rl.kl_coeff'   my.yaml:4:3
    3 │   samples_per_prompt: 16
    4 │   kl_coeff: 0.001
      │   ^^^^^^^^ did you mean 'kl_coef'?
  fix: rename or remove the key, or see: zero2r1 config explain rl.kl_coef""",
    ),
    "key at the wrong place": (
        "name: x\nkl_coef: 0.1\n",
        (),
        """\
error Z104 unknown key 'kl_coef'   my.yaml:2:1
    1 │ name: x
    2 │ kl_coef: 0.1
      │ ^^^^^^^ it belongs elsewhere: 'rl.kl_coef'
  fix: rename or remove the key, or see: zero2r1 config explain rl.kl_coef""",
    ),
    "key like no other": (
        "name: x\nqqq: 1",
        (),
        """\
error Z104 unknown key 'qqq'   my.yaml:2:1
    1 │ name: x
    2 │ qqq: 1
      │ ^^^ the keys here: name, rl, stages, languages, answer_kind
  fix: rename or remove the key, or see: zero2r1 config explain""",
    ),
    "unknown key in a union": (
        "name: x\nstages:\n  one: {kind: sft, epoch: 2}\n",
        (),
        """\
error Z104 unknown key 'stages.one.epoch'   my.yaml:3:20
    2 │ stages:
    3 │   one: {kind: sft, epoch: 2}
      │                    ^^^^^ did you mean 'epochs'?
  fix: rename or remove the key, or see: zero2r1 config explain stages.one.epochs""",
    ),
    "key of another member of a union": (
        "name: x\nstages:\n  one: {kind: sft, rll: 2}\n",
        (),
        """\
error Z104 unknown key 'stages.one.rll'   my.yaml:3:20
    2 │ stages:
    3 │   one: {kind: sft, rll: 2}
      │                    ^^^ the keys here: kind, epochs
  fix: rename or remove the key, or see: zero2r1 config explain stages""",
    ),
    "wrong type": (
        "name: x\nrl:\n  steps: ten # updates\n",
        (),
        """\
error Z105 'rl.steps' must be a whole number, got the text 'ten'   my.yaml:3:10
    2 │ rl:
    3 │   steps: ten # updates
      │          ^^^
  fix: see: zero2r1 config explain rl.steps""",
    ),
    "true is no number": (
        "name: x\nrl: {steps: true}\n",
        (),
        """\
error Z105 'rl.steps' must be a whole number, got true   my.yaml:2:13
    1 │ name: x
    2 │ rl: {steps: true}
      │             ^^^^
  fix: see: zero2r1 config explain rl.steps""",
    ),
    "out of range": (
        "name: x\nrl: {kl_coef: -1}\n",
        (),
        """\
error Z105 'rl.kl_coef' must be at least 0.0, got the number -1   my.yaml:2:15
    1 │ name: x
    2 │ rl: {kl_coef: -1}
      │               ^^
  fix: see: zero2r1 config explain rl.kl_coef""",
    ),
    "not a number": (
        "name: x\nrl: {kl_coef: .nan}\n",
        (),
        """\
error Z105 'rl.kl_coef' must be a finite number, got the number nan   my.yaml:2:15
    1 │ name: x
    2 │ rl: {kl_coef: .nan}
      │               ^^^^
  fix: see: zero2r1 config explain rl.kl_coef""",
    ),
    "wrong choice in a list": (
        "name: x\nlanguages: [en, zhh]\n",
        (),
        """\
error Z105 'languages.1' must be one of en, zh, got the text 'zhh'   my.yaml:2:17
    1 │ name: x
    2 │ languages: [en, zhh]
      │                 ^^^ did you mean 'zh'?
  fix: see: zero2r1 config explain languages""",
    ),
    "wrong kind of a stage": (
        "name: x\nstages:\n  one: {kind: sftt}\n",
        (),
        """\
error Z105 'stages.one.kind' must be one of zero_rl, sft, got the text 'sftt'   my.yaml:3:15
    2 │ stages:
    3 │   one: {kind: sftt}
      │               ^^^^ did you mean 'sft'?
  fix: see: zero2r1 config explain stages.one.kind""",
    ),
    "stage without kind": (
        "name: x\nstages:\n  one: {epochs: 2}\n",
        (),
        """\
error Z106 missing key 'stages.one.kind'   my.yaml:3:3
    2 │ stages:
    3 │   one: {epochs: 2}
      │   ^^^ needs the key 'kind'
  fix: set it: stages.one.kind=..., or see: zero2r1 config explain stages.one.kind""",
    ),
    "a number where a mapping belongs": (
        "name: x\nrl: 5\n",
        (),
        """\
error Z105 'rl' must be a mapping (lines of 'key: value'), got the number 5   my.yaml:2:5
    1 │ name: x
    2 │ rl: 5
      │     ^
  fix: see: zero2r1 config explain rl""",
    ),
    "missing key": (
        "rl: {steps: 2}\n",
        (),
        """\
error Z106 missing key 'name'   my.yaml
  fix: set it: name=..., or see: zero2r1 config explain name""",
    ),
    "values that do not go together": (
        "name: x\nrl: {clip_low: 5.0, clip_high: 1.0}\n",
        (),
        """\
error Z110 'rl': clip_low is above clip_high   my.yaml:2:1
    1 │ name: x
    2 │ rl: {clip_low: 5.0, clip_high: 1.0}
      │ ^^
  fix: see: zero2r1 config explain rl""",
    ),
    "a validator with a remedy": (
        "name: x\nrl: {steps: 3}\n",
        (),
        """\
error Z105 'rl.steps': 3 steps are odd   my.yaml:2:13
    1 │ name: x
    2 │ rl: {steps: 3}
      │             ^
  fix: rl.steps=2""",
    ),
    "several problems": (
        "nam: x\nrl:\n  steps: ten\n  algorithm: drpo\n",
        ("rl.stepz=3",),
        """\
error Z104 unknown key 'rl.stepz'   override 'rl.stepz=3'
  did you mean 'steps'?
  also Z104 unknown key 'nam'   my.yaml:1:1
  also Z105 'rl.steps' must be a whole number, got the text 'ten'   my.yaml:3:10
  also Z105 'rl.algorithm' must be one of grpo, dapo, got the text 'drpo'   my.yaml:4:14
  also Z106 missing key 'name'   my.yaml
  fix: rename or remove the key, or see: zero2r1 config explain rl.steps""",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_wrong_config_is_explained(tmp_path, case):
    text, overrides, expected = GOLDEN[case]
    assert complaint(tmp_path, text, *overrides) == expected


def test_a_mistake_that_several_stages_inherit_is_told_once(tmp_path):
    (tmp_path / "my.yaml").write_text("name: x\nrl:\n  kl_coeff: 1\n")
    document = load(tmp_path / "my.yaml", resolve_base=lambda name, child: child.parent / name)
    mark = document.marks["rl", "kl_coeff"]
    inherited = {"kind": "zero_rl", "rl": {"kl_coeff": 1}}
    stages = dict.fromkeys(("one", "two"), inherited)
    marks = {**document.marks, **{("stages", name, "rl", "kl_coeff"): mark for name in stages}}
    copied = type(document)({**document.data, "stages": stages}, marks, document.lines)
    with pytest.raises(ConfigError) as raised:
        validate(Recipe, copied)
    assert str(raised.value).count("kl_coeff'") == 1
    assert "unknown key 'rl.kl_coeff'" in str(raised.value)


def test_an_error_in_a_base_is_shown_in_the_base(tmp_path):
    (tmp_path / "base.yaml").write_text("name: x\nrl:\n  stepz: 3\n")
    text = complaint(tmp_path, "extends: base.yaml\nrl: {kl_coef: 0.5}\n")
    assert text.startswith("error Z104 unknown key 'rl.stepz'   base.yaml:3:3\n    2 │ rl:\n    3 │   stepz: 3\n")
