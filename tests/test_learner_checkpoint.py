"""Checkpoints are exact, whole or absent, never silently lost, and never of broken weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from learning_world import Heard, learner, same, save, state_of, train
from transformers import AutoModelForCausalLM

from zero2r1.core.errors import RunError
from zero2r1.learner import checkpoint
from zero2r1.learner.checkpoint import load_latest, refuse_small_disk
from zero2r1.learner.learner import snapshot


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_train_two_save_load_train_two_is_bit_equal_to_train_four(tmp_path, dtype):
    straight = learner(compute_dtype=dtype, weight_decay=0.1, schedule="cosine", total_steps=4)
    figures = train(straight, 0, 4)
    broken = learner(compute_dtype=dtype, weight_decay=0.1, schedule="cosine", total_steps=4)
    head = train(broken, 0, 2)
    reference = snapshot(broken.model)
    save(tmp_path, 2, broken, reference=reference, state={"cursor": [1, "x", 0.1]})
    saved = state_of(broken)

    fresh = learner(seed=1, compute_dtype=dtype, weight_decay=0.1, schedule="cosine", total_steps=4)
    loaded = load_latest(tmp_path, fresh)
    assert (loaded.step, loaded.state) == (2, {"cursor": [1, "x", 0.1]})
    assert same(loaded.reference, reference)
    assert same(state_of(fresh), saved)
    assert (fresh.attempts, fresh.version) == (2, 2)
    assert head + train(fresh, 2, 4) == figures
    assert same(state_of(fresh), state_of(straight))


def test_without_the_optimizer_state_the_continuation_differs():
    """The control of the test above: bit-equality is not given by itself."""
    whole, broken, fresh = learner(), learner(), learner(seed=1)
    train(whole, 0, 4)
    train(broken, 0, 2)
    fresh.model.load_state_dict(broken.model.state_dict())
    train(fresh, 2, 4)
    assert not same(snapshot(fresh.model), snapshot(whole.model))


def test_a_checkpoint_before_the_first_update_loads(tmp_path):
    subject = learner()
    save(tmp_path, 0, subject, reference=None)
    fresh = learner(seed=1)
    assert load_latest(tmp_path, fresh).reference is None
    assert same(state_of(fresh), state_of(subject))


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    assert load_latest(tmp_path / "missing", learner()) is None
    (tmp_path / ".step_000001.tmp").mkdir()
    assert load_latest(tmp_path, learner()) is None


def test_the_weights_are_a_hugging_face_directory(tmp_path):
    subject = learner()
    train(subject, 0, 1)
    model = AutoModelForCausalLM.from_pretrained(save(tmp_path, 1, subject) / "hf")
    for name, value in model.named_parameters():
        assert torch.equal(value, subject.model.get_parameter(name))


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> tuple[Path, list[dict[str, torch.Tensor]]]:
    """Checkpoints of step 1 and 2, and the states they hold."""
    folder = tmp_path_factory.mktemp("two")
    subject, states = learner(), []
    for step in (1, 2):
        train(subject, step, step + 1)
        save(folder, step, subject)
        states.append(state_of(subject))
    return folder, states


def damage(path: Path, how: str, other: Path) -> None:
    content = path.read_bytes()
    if how == "delete":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flip":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        assert how == "swap"
        path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("how", ["delete", "empty", "half", "flip", "swap"])
def test_damage_of_every_file_is_found_and_the_previous_checkpoint_used(two_checkpoints, tmp_path, how):
    source, states = two_checkpoints
    names = sorted(path.relative_to(source / "step_000002") for path in (source / "step_000002").rglob("*.*"))
    assert len(names) >= 7
    for name in names:
        folder = tmp_path / str(name).replace("/", "_")
        shutil.copytree(source, folder)
        damaged, other = folder / "step_000002" / name, folder / "step_000001" / name
        if how == "swap" and damaged.read_bytes() == other.read_bytes():
            continue  # the same in both: nothing is lost by exchanging them
        damage(damaged, how, other)
        heard, fresh = Heard(), learner(seed=1)
        assert load_latest(folder, fresh, report=heard).step == 1, name
        assert same(state_of(fresh), states[0])
        kind, fields = heard.events[0]
        assert (kind, fields["code"], fields["checkpoint"]) == ("checkpoint_damaged", "Z323", "step_000002")


def test_a_renamed_checkpoint_is_not_taken_for_another_step(two_checkpoints, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_checkpoints[0], folder)
    (folder / "step_000001").rename(folder / "step_000009")
    heard = Heard()
    assert load_latest(folder, learner(), report=heard).step == 2
    assert "is of step 1" in heard.events[0][1]["reason"]


def test_without_a_listener_a_damaged_checkpoint_is_a_warning(two_checkpoints, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_checkpoints[0], folder)
    (folder / "step_000002" / "state.json").unlink()
    with pytest.warns(UserWarning, match="checkpoint_damaged"):
        load_latest(folder, learner())


def test_when_no_checkpoint_is_usable_the_run_stops(two_checkpoints, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_checkpoints[0], folder)
    for step in (1, 2):
        (folder / f"step_00000{step}" / "optim.safetensors").write_bytes(b"")
    subject = learner()
    before = state_of(subject)
    with pytest.raises(RunError, match="none of 2 checkpoints is usable") as caught:
        load_latest(folder, subject, report=Heard())
    assert caught.value.code == "Z404"
    assert same(state_of(subject), before)


@pytest.mark.parametrize("where", ["weights", "optimizer"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_weights_are_never_committed(tmp_path, where, bad):
    subject = learner()
    train(subject, 0, 1)
    save(tmp_path, 1, subject, keep=1)
    if where == "weights":
        subject.model.get_parameter("model.norm.weight").data[0] = bad
    else:
        subject.optimizer.state_tensors()["exp_avg.model.norm.weight"][0] = bad
    with pytest.raises(RunError, match="NaN or infinity") as caught:
        save(tmp_path, 2, subject, keep=1)
    assert caught.value.code == "Z409"
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001"]


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    subject = learner()
    save(tmp_path, 1, subject)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(RunError, match="MiB are needed") as caught:
        save(tmp_path, 2, subject)
    assert caught.value.code == "Z406"
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001"]
    with pytest.raises(RunError, match="MiB are needed"):
        refuse_small_disk(tmp_path, subject, has_reference=True)


def test_an_error_while_writing_leaves_the_previous_one_and_no_rubbish(tmp_path, monkeypatch):
    subject = learner()
    save(tmp_path, 1, subject)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match="could not be written") as caught:
        save(tmp_path, 2, subject)
    assert caught.value.code == "Z406"
    assert "No space left" in caught.value.why
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001"]


def test_a_changed_machine_is_told(tmp_path, monkeypatch):
    save(tmp_path, 1, learner())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    heard = Heard()
    load_latest(tmp_path, learner(), report=heard)
    kind, fields = heard.events[0]
    assert (kind, fields["code"]) == ("machine_changed", "Z321")
    assert fields["changed"]["threads"][1] == 64


def test_the_same_machine_says_nothing(tmp_path):
    save(tmp_path, 1, learner())
    heard = Heard()
    load_latest(tmp_path, learner(), report=heard)
    assert heard.events == []


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    save(tmp_path, 1, learner())
    other = learner()
    other.model.model.norm.weight = torch.nn.Parameter(torch.ones(17))
    with pytest.raises(RunError, match="of another model") as caught:
        load_latest(tmp_path, other)
    assert caught.value.code == "Z405"


def test_a_float32_checkpoint_does_not_go_on_as_bfloat16(tmp_path):
    save(tmp_path, 1, learner())
    with pytest.raises(RunError, match="optimizer state does not fit") as caught:
        load_latest(tmp_path, learner(compute_dtype="bfloat16"), report=Heard())
    assert "float32" in caught.value.why


def test_the_state_is_readable_json(tmp_path):
    content = json.loads((save(tmp_path, 3, learner()) / "state.json").read_text())
    assert (content["step"], content["state"]) == (3, {"cursor": 3})
    assert content["learner"]["machine"]["torch"] == torch.__version__
