"""LoRA on disk: small checkpoints that resume bit by bit, a merged model that stands alone, adapters peft can read."""

import json
import shutil
from types import SimpleNamespace

import peft
import pytest
import torch
from learning_world import (
    LOSS,
    Heard,
    batch,
    learner,
    random_rows,
    same,
    save,
    state_of,
    tiny_model,
    tokenizer,
    train,
)
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from zero2r1.core.errors import RunError
from zero2r1.learner.checkpoint import load_latest, refuse_small_disk
from zero2r1.learner.config import LoraConfig
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.models.load import load_model, save_model, weights_hash
from zero2r1.models.lora import load_adapter, merged_parameters, merged_state, save_adapter

LORA = LoraConfig(rank=4, alpha=8)


def adapted(seed: int = 0, **config: object) -> Learner:
    return learner(seed, **({"lora": LORA} | config))


def trained(updates: int = 3, **config: object) -> Learner:
    subject = adapted(**config)
    train(subject, 0, updates)
    return subject


def logprobs(model, token_ids: list[int]) -> torch.Tensor:
    """By transformers' own forward, eager attention, one row, no cache."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0].float().log_softmax(-1)


TOKENS = [5, 99, 3, 42, 200, 7, 8, 9]


def test_the_merged_model_stands_alone(tmp_path):
    subject = trained()
    rows = random_rows(5)
    expected = subject.logprobs(batch(rows))
    save_model(subject.model, tokenizer(), tmp_path / "model")
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not any("lora" in name or "base_layer" in name for name, _ in alone.named_parameters())
    for name, value in merged_parameters(subject.model).items():
        assert torch.equal(alone.get_parameter(name), value), name
    again = Learner(load_model(tmp_path / "model"), subject.config.model_copy(update={"lora": None}), total_steps=1)
    found = again.logprobs(batch(rows))
    torch.testing.assert_close(torch.cat(found), torch.cat(expected), rtol=0, atol=1e-5)
    apart = learner().logprobs(batch(rows))
    assert float((torch.cat(apart) - torch.cat(expected)).abs().max()) > 1e-2  # the adapter does something
    torch.testing.assert_close(
        logprobs(alone, TOKENS), logprobs(subject.model, TOKENS), rtol=0, atol=1e-5
    )  # and so by transformers' own forward


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_hash_of_the_saved_model_is_the_hash_of_the_trained_one(tmp_path, dtype):
    subject = trained(compute_dtype=dtype)
    save_model(subject.model, tokenizer(), tmp_path)
    assert weights_hash(load_model(tmp_path, dtype=dtype)) == weights_hash(subject.model)
    assert weights_hash(subject.model) != subject.base_hash


def test_saving_leaves_the_learner_as_it_was(tmp_path):
    subject, other = trained(), trained()
    save_model(subject.model, tokenizer(), tmp_path)
    assert same(state_of(subject), state_of(other))
    train(subject, 3, 4)
    train(other, 3, 4)
    assert same(state_of(subject), state_of(other))


def test_tied_embeddings_stay_tied_in_the_merged_state():
    subject = trained()
    state = merged_state(subject.model)
    assert state.keys() == tiny_model().state_dict().keys()
    assert state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked for by peft's own wrapper
def test_peft_reads_the_adapter_folder(tmp_path):
    subject = trained()
    save_model(subject.model, tokenizer(), tmp_path)
    plain = tiny_model()
    wrapped = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")
    settings = wrapped.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.lora_dropout) == (4, 8, 0.0)
    torch.testing.assert_close(logprobs(wrapped.model, TOKENS), logprobs(subject.model, TOKENS), rtol=0, atol=3e-6)


def test_the_adapter_folder_is_the_same_bytes_each_time_and_names_no_place(tmp_path):
    for name in ("one", "two"):
        save_adapter(trained().model, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    content = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert content["base_model_name_or_path"] is None
    assert content["target_modules"] == sorted(content["target_modules"])
    assert str(tmp_path) not in (tmp_path / "one" / "adapter_config.json").read_text()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_train_save_load_train_equals_train_in_one_go(tmp_path, dtype):
    whole = adapted(compute_dtype=dtype)
    figures = train(whole, 0, 5)
    broken = adapted(compute_dtype=dtype)
    train(broken, 0, 3)
    reference = snapshot(broken.model)
    save(tmp_path, 3, broken, reference=reference)
    resumed = adapted(compute_dtype=dtype)
    loaded = load_latest(tmp_path, resumed)
    assert (loaded.step, loaded.state) == (3, {"cursor": 3})
    assert same(dict(loaded.reference), reference)
    assert same(state_of(resumed), state_of(broken))
    assert weights_hash(resumed.model) == weights_hash(broken.model)
    assert train(resumed, 3, 5) == figures[3:]
    assert same(state_of(resumed), state_of(whole))


def test_a_checkpoint_holds_the_adapters_and_the_name_of_their_base(tmp_path):
    subject = trained()
    folder = save(tmp_path, 3, subject)
    assert sorted(path.name for path in folder.iterdir()) == [
        "MANIFEST.json", "adapter", "optim.safetensors", "reference.safetensors", "state.json",
    ]  # fmt: skip
    assert json.loads((folder / "state.json").read_text())["learner"]["base"] == subject.base_hash
    # 1,024 numbers of adapters (tests of the step count them): 4 bytes each, twice with the reference; AdamW's two.
    sizes = {name: sum(v.nbytes for v in load_file(folder / name).values()) for name in (
        "adapter/adapter_model.safetensors", "reference.safetensors", "optim.safetensors",
    )}  # fmt: skip
    assert list(sizes.values()) == [4096, 4096, 8192 + 4 * 14]  # a step count for each of 14 factors


def test_the_room_asked_for_is_that_of_the_adapters(tmp_path, monkeypatch):
    # Two checkpoints of model, reference and two moments: 2 * (4 + 4 + 8) * 1,024 bytes = 32 KiB, and 2 MiB in full.
    def free(amount: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=amount))

    free(32 * 1024)
    refuse_small_disk(tmp_path, adapted(), has_reference=True)
    free(32 * 1024 - 1)
    with pytest.raises(RunError, match="needed for checkpoints"):
        refuse_small_disk(tmp_path, adapted(), has_reference=True)
    free(32 * 1024)
    with pytest.raises(RunError, match="needed for checkpoints"):
        refuse_small_disk(tmp_path, learner(), has_reference=True)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: adapted(seed=1), "this run trains adapters on base"),
        (lambda: learner(), "this run trains all weights"),
        (lambda: adapted(lora=LoraConfig(rank=2, alpha=8)), "another rank"),
        (lambda: adapted(lora=LoraConfig(rank=4, targets=("q_proj",))), "other layers"),
    ],
)
def test_a_checkpoint_of_other_adapters_is_refused_and_changes_nothing(tmp_path, make, why):
    save(tmp_path, 3, trained())
    subject = make()
    before = state_of(subject)
    with pytest.raises(RunError, match="another model") as caught:
        load_latest(tmp_path, subject)
    assert caught.value.code == "Z405"
    assert why in caught.value.why
    assert same(state_of(subject), before)


def test_a_checkpoint_of_all_weights_is_not_one_of_adapters(tmp_path):
    subject = learner()
    train(subject, 0, 1)
    save(tmp_path, 1, subject)
    with pytest.raises(RunError, match="another model") as caught:
        load_latest(tmp_path, adapted())
    assert "it holds all weights" in caught.value.why


def test_a_damaged_adapter_is_passed_over(tmp_path):
    subject = trained(1)
    save(tmp_path, 1, subject)
    state = state_of(subject)
    train(subject, 1, 2)
    file = save(tmp_path, 2, subject) / "adapter" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    heard, fresh = Heard(), adapted()
    assert load_latest(tmp_path, fresh, report=heard).step == 1
    assert heard.events[0][1]["code"] == "Z323"
    assert same(state_of(fresh), state)


def test_adapters_with_a_nan_are_never_written(tmp_path):
    subject = trained(1)
    with torch.no_grad():
        next(iter(snapshot_parameters(subject))).fill_(torch.nan)
    with pytest.raises(RunError, match="NaN or infinity") as caught:
        save(tmp_path, 1, subject)
    assert caught.value.code == "Z409"
    assert list(tmp_path.iterdir()) == []


def snapshot_parameters(subject: Learner) -> list[torch.Tensor]:
    return [parameter for parameter in subject.model.parameters() if parameter.requires_grad]


def test_the_next_stage_starts_from_the_merged_model(tmp_path):
    first = trained()
    save_model(first.model, tokenizer(), tmp_path)
    second = Learner(load_model(tmp_path), first.config, total_steps=10)
    assert second.base_hash == weights_hash(first.model) == weights_hash(second.model)
    figures = second.step(batch(random_rows(4)), LOSS)
    assert figures["nonfinite"] == 0.0
    assert weights_hash(second.model) != second.base_hash


def test_adapters_go_into_a_model_that_has_them(tmp_path):
    subject = trained()
    save_adapter(subject.model, tmp_path)
    fresh = adapted()
    load_adapter(fresh.model, tmp_path)
    assert weights_hash(fresh.model) == weights_hash(subject.model)
    with pytest.raises(ValueError, match="another rank"):
        load_adapter(tiny_model(), tmp_path)
