"""What a stage of reinforcement learning tells of rewards that could not judge."""

from pathlib import Path

from learning_world import completion

from zero2r1.core.run import RunFolder
from zero2r1.core.types import Credited, Score, Scored, Verdict
from zero2r1.rl.grpo import Cursor, Update
from zero2r1.stages.context import Context
from zero2r1.stages.observer import Silent
from zero2r1.stages.reinforcement import warn_of_errors

LATE = "mine.py::f: no verdict within 60 s: killed"


class Listener(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def update(num_errors: int, *, step: int = 3, is_first: bool = True) -> Update:
    """One of 20 rows."""
    bad = Score(value=None, verdict=Verdict.ERROR, parts={"mine.py::f": None}, notes=(LATE,))
    good = Score(value=1.0, verdict=Verdict.RIGHT, parts={"mine.py::f": 1.0})
    rows = tuple(
        Credited(scored=Scored(completion=completion(sample=i), score=bad if i < num_errors else good), advantage=0.0)
        for i in range(20)
    )
    return Update(
        step=step,
        metrics={"reward/error_frac": num_errors / 20},
        rows=rows if is_first else (),
        is_rollout_end=False,
        cursor=Cursor(),
        weights_hash="",
    )


def test_more_than_a_twentieth_is_told_of_once_a_rollout_with_the_reasons(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    listener = Listener()
    context = Context(
        name="r1_zero", seed=0, run=run, folder=run.stage("r1_zero").create(), model=None, parents={}, observer=listener
    )
    warn_of_errors(context, update(1))  # 1 of 20 is 5 %: not above
    assert context.folder.events.read() == []
    warn_of_errors(context, update(2))
    warn_of_errors(context, update(2, step=4, is_first=False))
    (event,) = context.folder.events.read()
    assert {name: event[name] for name in ("kind", "code", "step", "share", "reasons")} == {
        "kind": "reward_errors", "code": "Z318", "step": 3, "share": 0.1, "reasons": {LATE: 2},
    }  # fmt: skip
    (note,) = listener.notes
    assert "Z318" in note
    assert LATE in note
