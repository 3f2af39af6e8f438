"""Wrong configs, data files and rewards: the error says what, where (file, line, column), and what to do."""

from dataclasses import dataclass

import pytest

from zero2r1.cli import main

RECIPE = """\
name: mine
model: {tiny: {}}
stages:
  base:
    kind: pretrain
    steps: 10
  zero:
    kind: zero_rl
    init: base
"""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One thing a person gets wrong, and what has to be in the message."""

    name: str
    text: str
    says: tuple[str, ...]
    words: tuple[str, ...] = ("recipes", "validate", "FILE")
    file: str = "mine.yaml"


CONFIGS = (
    Wrong(name="a typo in a key", text=RECIPE + "rl:\n  kl_coeff: 0.1\n",
          says=("Z104", "kl_coeff", "mine.yaml:11:3", "did you mean 'kl_coef'?")),
    Wrong(name="a typo in a section", text=RECIPE + "lerner: {lr: 1.0}\n",
          says=("Z104", "lerner", "mine.yaml:10:1", "learner")),
    Wrong(name="a typo in a stage", text=RECIPE.replace("steps: 10", "stepps: 10"),
          says=("Z104", "stepps", "mine.yaml:6:5", "did you mean 'steps'?")),
    Wrong(name="a word for a number", text=RECIPE.replace("steps: 10", "steps: many"),
          says=("Z105", "steps", "mine.yaml:6:", "many")),
    Wrong(name="a number out of range", text=RECIPE + "learner:\n  lr: -1\n",
          says=("Z105", "lr", "mine.yaml:11:", "-1")),
    Wrong(name="a choice that does not exist", text=RECIPE + "rl: {algorithm: grop}\n",
          says=("Z105", "algorithm", "mine.yaml:10:", "grpo")),
    Wrong(name="a kind of stage that does not exist", text=RECIPE.replace("kind: pretrain", "kind: pretain"),
          says=("Z105", "mine.yaml:5:", "pretain", "pretrain")),
    Wrong(name="a stage without a kind", text=RECIPE.replace("    kind: pretrain\n", ""), says=("mine.yaml:", "kind")),
    Wrong(name="a parent that does not exist", text=RECIPE.replace("init: base", "init: bas"), says=("bas", "base")),
    Wrong(name="stages in a circle",
          text=RECIPE.replace("kind: pretrain\n    steps: 10", "kind: zero_rl\n    init: zero"), says=("circle",)),
    Wrong(name="a key given twice", text=RECIPE + "name: yours\n", says=("Z102", "name", "mine.yaml:10:1")),
    Wrong(name="broken YAML", text=RECIPE + "rl: {steps: 3\n", says=("Z101", "mine.yaml:")),
    Wrong(name="a tab", text=RECIPE + "rl:\n\tsteps: 3\n", says=("Z101", "mine.yaml:11:")),
    Wrong(name="a YAML tag", text=RECIPE + "seed: !!python/name:os.system 1\n", says=("Z103", "mine.yaml:10:")),
    Wrong(name="a list instead of keys", text="- 1\n- 2\n", says=("Z111", "mine.yaml")),
    Wrong(name="a base that does not exist", text="extends: tinny\nname: mine\n", says=("tinny", "tiny")),
    Wrong(name="a base that is itself", text="extends: mine.yaml\nname: mine\n", says=("Z108", "mine.yaml")),
    Wrong(name="a name that leaves the folder", text=RECIPE.replace("name: mine", "name: ../mine"), says=("../mine",)),
    Wrong(name="two origins of a model",
          text=RECIPE.replace("model: {tiny: {}}", "model: {source: x, tiny: {}}"),
          says=("mine.yaml:2:", "source", "tiny")),
    Wrong(name="top_p in reinforcement learning", text=RECIPE + "rl: {top_p: 0.9}\n", says=("mine.yaml:10:", "top_p")),
    Wrong(name="an override without a value", text=RECIPE, words=("recipes", "validate", "FILE", "rl.steps"),
          says=("Z107", "rl.steps")),
    Wrong(name="an override of nothing", text=RECIPE, words=("recipes", "validate", "FILE", "rl.stepz=3"),
          says=("stepz", "rl.stepz=3", "steps")),
    Wrong(name="a recipe that does not exist", text="", words=("run", "tinny"), says=("tinny", "tiny", "recipes")),
)  # fmt: skip

CHECK = ("data", "check", "FILE")
REWARD = ("reward", "test", "FILE::brevity")

DATA = (
    Wrong(name="a missing column", file="d.jsonl", words=CHECK, text='{"question": "1+1?", "solution": "2"}\n',
          says=("Z131", "d.jsonl", "row 1", "answer", "question, solution")),
    Wrong(name="no JSON at all", file="d.jsonl", words=CHECK, text="hello\nworld\n",
          says=("Z132", "d.jsonl", "2 not JSON")),
    Wrong(name="an empty file", file="d.jsonl", words=CHECK, text="", says=("Z132", "d.jsonl", "empty")),
    Wrong(name="a file that is not there", file="x.txt", words=("data", "check", "no-such.jsonl"), text="",
          says=("Z130", "no-such.jsonl")),
    Wrong(name="a form that is not read", file="d.yaml", words=("data", "check", "FILE"), text="name: 1\n",
          says=("d.yaml",)),
    Wrong(name="an answer nobody can score", file="d.csv", words=CHECK, text="question,answer\n1+1?,\n",
          says=("d.csv", "answer")),
    Wrong(name="a reward file that is not there", file="x.txt", words=("reward", "test", "no.py::brevity"), text="",
          says=("Z140", "no.py")),
    Wrong(name="a reward that is not in its file", file="r.py", words=REWARD, text="x = 1\n",
          says=("Z140", "r.py", "brevity")),
    Wrong(name="a reward without arguments", file="r.py", words=REWARD, text="def brevity():\n    return 1\n",
          says=("Z141", "brevity", "prompt, completion")),
    Wrong(name="a reward file with an error", file="r.py", words=REWARD, text="import nothing_of_this_name\n",
          says=("Z140", "r.py", "nothing_of_this_name")),
)  # fmt: skip


@pytest.mark.parametrize("wrong", [*CONFIGS, *DATA], ids=lambda wrong: wrong.name)
def test_a_mistake_is_told_with_its_place_and_its_remedy(wrong: Wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / wrong.file).write_text(wrong.text, encoding="utf-8")
    assert main([word.replace("FILE", wrong.file) for word in wrong.words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error Z")
    missing = [fragment for fragment in (*wrong.says, "fix:") if fragment not in captured.err]
    assert missing == [], captured.err


def test_there_are_at_least_twenty_five_of_them():
    assert len(CONFIGS) + len(DATA) >= 25
    assert len({wrong.name for wrong in (*CONFIGS, *DATA)}) == len(CONFIGS) + len(DATA)


def test_the_recipe_they_are_made_from_is_right(tmp_path):
    (tmp_path / "mine.yaml").write_text(RECIPE)
    assert main(["recipes", "validate", str(tmp_path / "mine.yaml")]) == 0
