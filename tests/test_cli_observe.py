"""Telling of a run: plain lines in logs, one table on a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from zero2r1.cli.observe import LiveObserver, PlainObserver, headline, observer
from zero2r1.stages.observer import Observer


class Clock:
    """A clock that goes on by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def plain(tmp_path: Path) -> tuple[PlainObserver, list[str], Clock]:
    lines: list[str] = []
    clock = Clock()
    return PlainObserver(tmp_path, lines.append, now=clock), lines, clock


def test_the_loss_of_reinforcement_learning_is_no_headline():
    assert headline({"reward/mean": 0.5, "loss": 0.0, "length/truncated_frac": 0.25}) == "reward 0.50  truncated 25%"
    assert headline({"loss": 2.5, "grad_norm": 1.0}) == "loss 2.500  grad 1.00"


def test_numbers_that_are_not_numbers_are_left_out():
    assert headline({"reward/mean": None, "kl/mean": True}) == ""
    assert headline({"phase": "sample", "samples": 64}) == "sample"


def test_lines_come_at_the_start_at_the_end_and_now_and_then_between(tmp_path):
    watching, lines, clock = plain(tmp_path)
    watching.stage_started("zero", "zero_rl", "run: not started")
    for step in range(1, 101):
        clock.seconds = float(step)
        watching.update("zero", step, 100, {"reward/mean": step / 100})
    watching.stage_finished("zero", {"seconds": 100.0})
    watching.note("a note")
    steps = [line for line in lines if "step" in line]
    # one at once, then every ten seconds, and the last step: 1, 11, 21, ..., 91, 100
    assert len(steps) == 11
    assert steps[0] == "[0:01] zero: step 1/100  reward 0.01"
    assert steps[-1].startswith("[1:40] zero: step 100/100")
    assert lines[0] == "[0:00] zero: started (zero_rl, run: not started)"
    assert lines[-2:] == ["[1:40] zero: finished", "[1:40] a note"]


def test_both_observers_are_what_a_run_wants(tmp_path):
    def told(watching: Observer) -> None:
        watching.stage_started("a", "pretrain", "")
        watching.update("a", 1, 2, {"loss": 1.0})
        watching.stage_finished("a", {})
        watching.note("n")

    told(plain(tmp_path)[0])
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveObserver(tmp_path, screen, title="t") as watching:
        told(watching)


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_fits_its_terminal(tmp_path, width):
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    with LiveObserver(tmp_path, screen, title="R1 in miniature", now=Clock()) as watching:
        watching.stage_started("rejection_sampling", "rejection_sampling", "run: not started")
        watching.update("rejection_sampling", 5, 120, {"reward/mean": 0.1})
        watching.update("rejection_sampling", 6, 120, {"reward/mean": 0.9, "length/mean": 12.0})
        still = Console(file=io.StringIO(), width=width)
        still.print(watching.drawing())
    text = still.file.getvalue()
    assert "rejection_sampling" in text
    assert "6/120" in text
    assert "reward ▁█" in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_pipe_gets_lines_and_json_gets_them_on_stderr(tmp_path, capsys):
    with observer(tmp_path, title="t", as_json=False) as watching:
        watching.note("to stdout")
    with observer(tmp_path, title="t", as_json=True) as watching:
        watching.note("to stderr")
    captured = capsys.readouterr()
    assert captured.out == "[0:00] to stdout\n"
    assert captured.err == "[0:00] to stderr\n"
