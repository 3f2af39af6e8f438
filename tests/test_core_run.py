"""The run folder: layout, names, lock, manifest."""

import json
import os
import subprocess
import sys

import pytest

from zero2r1.core.errors import RunError
from zero2r1.core.run import RunFolder, name_is_safe

HOLD_LOCK = (
    "import sys; from zero2r1.core.run import RunFolder\n"
    "with RunFolder(sys.argv[1]).lock(): print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("name", ["a", "R1-zero_2.x", "0", "a" * 64, "demo-1"])
def test_safe_names(name):
    assert name_is_safe(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/abs", "a/b", "a\\b", ".hidden", "-x", "a b", "a\n", "a\0", "ä", "a" * 65]
)
def test_unsafe_names_are_refused(tmp_path, name):
    assert not name_is_safe(name)
    with pytest.raises(RunError, match="Z402 unsafe stage name"):
        RunFolder(tmp_path / "run").stage(name)


def test_an_unsafe_run_name_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"Z402 unsafe run name '\.hidden'"):
        RunFolder(tmp_path / ".hidden")


def test_a_run_folder_given_as_dot_has_the_name_of_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunFolder(".").config.name == "config.resolved.yaml"


def test_making_the_object_writes_nothing_and_create_makes_the_layout(tmp_path):
    run = RunFolder(tmp_path / "demo")
    stage = run.stage("zero_rl")
    assert not run.root.exists()
    assert run.stage_names() == []
    run.create()
    stage.create()
    assert run.stage_names() == ["zero_rl"]
    assert sorted(path.name for path in stage.root.iterdir()) == ["checkpoints", "data", "evals", "rollouts"]
    below = {
        "metrics.jsonl": stage.metrics,
        "timings.jsonl": stage.timings,
        "events.jsonl": stage.events.path,
        "manifest.json": stage.manifest,
        "model": stage.model,
    }
    assert all(path == run.root / "stages" / "zero_rl" / name for name, path in below.items())
    root = [run.config, run.command, run.environment, run.status.path, run.events.path]
    assert [path.name for path in root] == [
        "config.resolved.yaml",
        "cmd.txt",
        "env.json",
        "status.json",
        "events.jsonl",
    ]


def test_a_stage_is_finished_when_its_manifest_is_there(tmp_path):
    stage = RunFolder(tmp_path / "demo").stage("base").create()
    assert not stage.is_finished
    assert stage.read_manifest() is None
    stage.write_manifest({"kind": "pretrain", "key": "ab", "parents": {}})
    assert stage.is_finished
    expected = {"schema_version": 1, "stage": "base", "kind": "pretrain", "key": "ab", "parents": {}}
    assert stage.read_manifest() == expected


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_manifest_is_an_error(tmp_path, content):
    stage = RunFolder(tmp_path / "demo").stage("base").create()
    stage.manifest.write_text(content)
    with pytest.raises(RunError, match="Z411"):
        stage.read_manifest()


def test_events_are_in_order_with_kind_and_time(tmp_path):
    events = RunFolder(tmp_path / "demo").events
    assert events.read() == []
    events.append("started", command="run tiny")
    events.append("warning", code="Z310", share=float("nan"))
    started, warned = events.read()
    assert (started["kind"], started["command"]) == ("started", "run tiny")
    assert (warned["kind"], warned["share"], warned["nonfinite"]) == ("warning", None, ["share"])
    assert 0 < started["time"] <= warned["time"]


def test_the_status_is_replaced_whole(tmp_path):
    status = RunFolder(tmp_path / "demo").status
    assert status.read() == {}
    status.write(stage="base", step=3)
    status.write(stage="zero_rl")
    read = status.read()
    assert read["stage"] == "zero_rl"
    assert "step" not in read
    assert read["pid"] == os.getpid()
    assert json.loads(status.path.read_text()) == read


def test_a_second_lock_is_refused_and_says_who_holds_the_first(tmp_path):
    run = RunFolder(tmp_path / "demo")
    with run.lock(), pytest.raises(RunError, match=f"Z401 run is in use by process {os.getpid()} "), run.lock():
        pass
    with run.lock():  # given back
        pass


def test_the_kernel_gives_the_lock_back_when_its_process_is_killed(tmp_path):
    run = RunFolder(tmp_path / "demo")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"Z401 run is in use by process {holder.pid} "), run.lock():
            pass
        holder.kill()
    assert holder.returncode == -9
    with run.lock():
        pass


def test_the_lock_clears_what_a_killed_writer_left(tmp_path):
    run = RunFolder(tmp_path / "demo")
    stage = run.stage("base").create()
    (stage.root / ".model.tmp").mkdir()
    (stage.root / ".model.tmp" / "weights").write_text("half")
    (stage.checkpoints / ".step_000010.removed").mkdir()
    (stage.root / ".manifest.json.1-2.tmp").write_text("{")
    stage.metrics.write_text("")
    with run.lock():
        assert [path.name for path in stage.root.rglob(".*")] == []
        assert stage.metrics.exists()
