"""Old checkpoints go only when a newer one is surely there: the last good one is never lost."""

from pathlib import Path

import pytest
from learning_world import Heard, learner, same, save, state_of, train

from zero2r1.core.errors import RunError
from zero2r1.learner import checkpoint
from zero2r1.learner.checkpoint import load_latest


def test_retention_keeps_the_newest(tmp_path):
    subject = learner()
    for step in range(1, 5):
        save(tmp_path, step, subject)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000003", "step_000004"]


def test_a_damaged_checkpoint_of_a_later_step_does_not_push_the_good_one_out(tmp_path):
    subject = learner()
    save(tmp_path, 1, subject)
    (save(tmp_path, 4, subject) / "state.json").unlink()
    assert load_latest(tmp_path, subject, report=Heard()).step == 1
    save(tmp_path, 3, subject, keep=1)  # the resumed run saves at another step than the damaged one
    assert [path.name for path in tmp_path.iterdir()] == ["step_000003"]


def test_a_crash_before_the_commit_leaves_the_previous_one_even_with_keep_1(tmp_path):
    subject = learner()
    save(tmp_path, 1, subject, keep=1)
    saved = state_of(subject)
    train(subject, 1, 2)

    def crash() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, subject, keep=1, before_rename=crash)
    fresh = learner(seed=1)
    assert load_latest(tmp_path, fresh).step == 1
    assert same(state_of(fresh), saved)
    save(tmp_path, 2, subject, keep=1)  # what the crash left behind is no obstacle
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002"]


def test_older_checkpoints_stay_when_the_new_one_cannot_be_read_back(tmp_path, monkeypatch):
    subject = learner()
    save(tmp_path, 1, subject, keep=1)
    commit = checkpoint.commit_directory

    def torn(temporary: Path, final: Path, **more: object) -> None:
        commit(temporary, final, **more)
        (final / "optim.safetensors").write_bytes(b"torn")

    monkeypatch.setattr(checkpoint, "commit_directory", torn)
    with pytest.raises(RunError) as caught:
        save(tmp_path, 2, subject, keep=1)
    assert caught.value.code == "Z403"
    assert load_latest(tmp_path, learner(seed=1), report=Heard()).step == 1


def test_a_damaged_checkpoint_of_the_same_step_is_replaced_and_a_whole_one_kept(tmp_path):
    subject = learner()
    path = save(tmp_path, 1, subject)
    written = (path / "MANIFEST.json").stat().st_mtime_ns
    save(tmp_path, 1, subject)
    assert (path / "MANIFEST.json").stat().st_mtime_ns == written
    (path / "state.json").write_text("{}")
    save(tmp_path, 1, subject)
    assert load_latest(tmp_path, learner(seed=1)).step == 1
