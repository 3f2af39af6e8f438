"""The profile of a stage: clocks on functions, the operators of one step, and the files they become."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import zero2r1.models.load
import zero2r1.models.save
from zero2r1.core.run import RunFolder
from zero2r1.policy.engine import Engine
from zero2r1.stages import profiling, taps
from zero2r1.stages.observer import Silent
from zero2r1.stages.operators import RECORDING, TOP, Operators
from zero2r1.stages.profiling import Profiler, outside, phase_rows, profiled
from zero2r1.stages.taps import POINTS, Clock, Point, Spent, Taps


@pytest.fixture
def at(monkeypatch):
    """A clock set by hand."""
    now = [0.0]
    monkeypatch.setattr(taps.time, "perf_counter", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def spent(clock: Clock) -> dict[tuple[str, ...], tuple[float, int]]:
    return {path: (one.seconds, one.calls) for path, one in clock.main.items()}


def test_phases_nest_and_add_up_by_hand(at):
    clock = Clock()
    for start in (0.0, 10.0):
        at(start)
        with clock.phase("update"):
            at(start + 1)
            with clock.phase("forward"):
                at(start + 3)
            with clock.phase("backward"), clock.phase("backward"):  # directly inside itself: once
                at(start + 7)
            at(start + 8)
    assert spent(clock) == {
        ("update", "forward"): (4.0, 2), ("update", "backward"): (8.0, 2), ("update",): (16.0, 2),
    }  # fmt: skip
    at(20.0)
    assert [(row["phase"], row["self_seconds"], row["share"]) for row in phase_rows(clock.main, clock.seconds())] == [
        ("update", 4.0, 0.8), ("update / backward", 8.0, 0.4), ("update / forward", 4.0, 0.2),
    ]  # fmt: skip
    assert outside(clock.main, 20.0) == 4.0


def test_a_phase_that_fails_is_counted_and_left(at):
    clock = Clock()

    def fail() -> None:
        with clock.phase("update"):
            at(2.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with clock.phase("save"):
        at(3.0)
    assert spent(clock) == {("update",): (2.0, 1), ("save",): (1.0, 1)}


def test_other_threads_are_counted_apart():
    clock = Clock()

    def judge() -> None:
        with clock.phase("rewards"):
            pass

    with clock.phase("sampling"):
        thread = threading.Thread(target=judge)
        thread.start()
        thread.join()
    assert set(clock.main) == {("sampling",)}
    assert set(clock.beside) == {("rewards",)}


def test_a_device_is_waited_for_at_both_ends():
    heard = []
    clock = Clock(settle=lambda: heard.append("settled"))
    with clock.phase("update"):
        heard.append("work")
    assert heard == ["settled", "work", "settled"]


def test_every_point_names_something_and_is_put_back():
    before = Engine.__dict__["sample"], zero2r1.models.load.weights_hash, torch.Tensor.backward
    with Taps(Clock()) as on:
        assert on.missing == []
        within = Engine.__dict__["sample"], zero2r1.models.load.weights_hash, torch.Tensor.backward
        assert all(wrapper.__wrapped__ is own for wrapper, own in zip(within, before, strict=True))
    assert (Engine.__dict__["sample"], zero2r1.models.load.weights_hash, torch.Tensor.backward) == before


def test_a_module_imported_meanwhile_keeps_no_wrapper(monkeypatch):
    own = zero2r1.models.save.weights_hash
    with Taps(Clock()):
        monkeypatch.setattr(profiling, "weights_hash", zero2r1.models.save.weights_hash, raising=False)
        assert profiling.weights_hash is not own
    assert profiling.weights_hash is own


def test_a_name_that_moved_is_listed_and_the_rest_is_timed():
    points = (
        Point(phase="gone", module="zero2r1.nowhere", name="f"),
        Point(phase="gone", module="zero2r1.policy.engine", name="Engine.nothing"),
        Point(phase="hash", module="zero2r1.models.save", name="weights_hash"),
    )
    clock = Clock()
    with Taps(clock, points) as on:
        zero2r1.models.load.weights_hash(torch.nn.Linear(2, 2))
    assert on.missing == list(points[:2])
    assert {path: one.calls for path, one in clock.main.items()} == {("hash",): 1}


def test_the_phases_of_the_points_are_what_the_documentation_names():
    assert {"prefill", "decode", "admission", "rewards", "forward", "backward", "optimizer", "collect"} <= {
        point.phase for point in POINTS
    }


def step(clock: Clock, decodes: int, square: torch.Tensor) -> None:
    with clock.phase("sampling"):
        for _ in range(decodes):
            with clock.phase("decode"):
                square.mm(square)
        square.exp()


def test_the_operators_of_the_second_call_up_to_its_fourth_decoding_step():
    clock = Clock()
    operators = Operators(clock)
    square = torch.ones(4, 4)
    for decodes in (3, 20, 5):
        step(clock, decodes, square)
    rows, seconds = operators.tables["sampling"]
    calls = {row.name: row.calls for row in rows}
    assert calls["aten::mm"] == 4
    assert "aten::exp" not in calls  # came after the fourth
    assert 0 < len(rows) <= TOP
    assert seconds >= sum(row.seconds for row in rows[:3]) > 0
    assert clock.main[(RECORDING,)].calls == 1  # began before the phase
    assert clock.main[("sampling", RECORDING)].calls == 1  # and ended inside


def test_a_short_call_is_recorded_whole():
    clock = Clock()
    operators = Operators(clock)
    for _ in range(2):
        step(clock, 2, torch.ones(2, 2))
    calls = {row.name: row.calls for row in operators.tables["sampling"][0]}
    assert (calls["aten::mm"], calls["aten::exp"]) == (2, 1)


def test_a_recording_that_is_cut_off_still_gives_a_table():
    clock = Clock()
    operators = Operators(clock)
    operators.entered("update")
    operators.entered("update")
    torch.ones(2, 2).mm(torch.ones(2, 2))
    operators.stop()
    assert "aten::mm" in {row.name for row in operators.tables["update"][0]}


class Heard(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage_started(self, name: str, kind: str, reason: str) -> None:
        self.stages.append(f"{name} started")

    def stage_finished(self, name: str, row: Mapping[str, object]) -> None:
        self.stages.append(f"{name} finished")


def test_a_stage_gets_both_files_and_a_skipped_one_none(tmp_path: Path):
    run, heard = RunFolder(tmp_path / "run").create(), Heard()
    with profiled(heard, run) as observer:
        observer.stage_started("base", "pretrain", "skip: finished")
        observer.stage_finished("base", {})
        observer.stage_started("r1", "zero_rl", "run: not started")
        zero2r1.models.load.weights_hash(torch.nn.Linear(2, 2))
        for step_number, seconds in ((1, 2.0), (2, 4.0)):
            observer.update("r1", step_number, 2, {"loss": 1.0, "time/update": seconds})
        observer.update("r1", 1, 1, {"phase": "measure"})
        observer.stage_finished("r1", {})
    assert heard.stages == ["base started", "base finished", "r1 started", "r1 finished"]
    assert not run.stage("base").root.exists()
    found = json.loads((run.stage("r1").root / "profile.json").read_text(encoding="utf-8"))
    assert (found["updates"], found["means"], found["is_finished"]) == (2, {"time/update": 3.0}, True)
    assert [row["phase"] for row in found["phases"]] == ["hash"]
    assert found["not_found"] == []
    shown = (run.stage("r1").root / "profile.md").read_text(encoding="utf-8")
    assert "| hash |" in shown
    assert "| time/update | 3 |" in shown
    assert "No operators of 'update'" in shown
    assert "stopped" not in shown


def test_a_stage_that_is_stopped_has_its_profile_so_far_and_nothing_stays_wrapped(tmp_path: Path):
    run, own = RunFolder(tmp_path / "run").create(), Engine.__dict__["sample"]

    def interrupted() -> None:
        with profiled(Heard(), run) as observer:
            observer.stage_started("r1", "zero_rl", "run: not started")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert Engine.__dict__["sample"] is own
    assert "was stopped before its end" in (run.stage("r1").root / "profile.md").read_text(encoding="utf-8")


def test_the_clock_states_its_own_cost():
    clock = Clock()
    clock.main[("update",)] = Spent(seconds=1.0, calls=1_000_000)
    # a phase takes between a tenth of a microsecond and a millisecond on any machine
    assert 0.1 < clock.overhead() < 1000


def test_nothing_is_measured_between_stages(tmp_path: Path):
    profiler = Profiler(Heard(), RunFolder(tmp_path / "run").create())
    profiler.update("r1", 1, 1, {"loss": 1.0})
    profiler.close(is_finished=True)
    assert list((tmp_path / "run").rglob("profile.*")) == []
