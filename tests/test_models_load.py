"""Saved models load anywhere, loaded ones are what was saved, and nothing strange gets in."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from networks import FAMILIES, network, ours, run_packed, token_rows
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from zero2r1.core.dialogue import CHAT_TEMPLATES
from zero2r1.core.errors import ModelError
from zero2r1.models.config import TinyConfig
from zero2r1.models.head import head_of
from zero2r1.models.load import load_model, load_tokenizer, save_model, set_template, weights_hash
from zero2r1.models.tiny import make_tiny
from zero2r1.models.tokenizer import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    made = make_tokenizer(["1+1=2 so 2", "two and two are four"] * 9, vocab_size=300)
    set_template(made, "r1")
    return made


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model = make_tiny(TinyConfig(hidden_size=32, num_layers=2, intermediate_size=48), tokenizer, seed=3)
    save_model(model, tokenizer, folder)
    return folder, model


@pytest.fixture
def damaged(saved, tmp_path):
    """A copy of the saved model to break."""
    return shutil.copytree(saved[0], tmp_path / "damaged")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_model_loads_as_it_was(saved):
    folder, model = saved
    loaded = load_model(folder)
    assert weights_hash(loaded) == weights_hash(model)
    assert not loaded.training
    with torch.no_grad():
        sequences = token_rows(5, 3)
        for one, two in zip(run_packed(loaded, sequences), run_packed(model, sequences), strict=True):
            assert torch.equal(one, two)
    assert weights_hash(load_model(str(folder))) == weights_hash(model)


def test_a_saved_model_is_the_same_bytes_twice(saved, tokenizer, tmp_path):
    folder, model = saved
    save_model(model, tokenizer, tmp_path / "again")
    first, second = ({p.name: p.read_bytes() for p in place.iterdir()} for place in (folder, tmp_path / "again"))
    assert first == second
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(first)


def test_plain_transformers_loads_it_and_generates_in_a_fresh_process(saved):
    code = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "folder = sys.argv[1]\n"
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "turns = [{'role': 'user', 'content': '1+1'}]\n"
        "ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors='pt')\n"
        "out = model.generate(**ids, max_new_tokens=4, min_new_tokens=4, do_sample=False)\n"
        "assert 'zero2r1' not in sys.modules\n"
        "print(model.config._attn_implementation, out.shape[1] - ids['input_ids'].shape[1])\n"
    )
    command = [sys.executable, "-c", code, str(saved[0])]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert result.stdout.split() == ["sdpa", "4"]


def test_our_attention_leaves_no_trace_in_the_config(saved):
    assert "zero2r1" not in (saved[0] / "config.json").read_text()


def test_plain_transformers_computes_the_same_logits(saved):
    folder, _ = saved
    sequence = token_rows(9)[0]
    loaded = load_model(folder)
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([sequence])).logits[0]
        packed = head_of(loaded).logits(run_packed(loaded, [sequence])[0])
    torch.testing.assert_close(packed, plain, rtol=0, atol=1e-5)


def test_chat_and_response_template_travel_with_the_checkpoint(saved):
    loaded = load_tokenizer(saved[0])
    assert loaded.chat_template == CHAT_TEMPLATES["r1"]
    prompt = loaded.apply_chat_template(
        [{"role": "user", "content": "1+1"}], tokenize=False, add_generation_prompt=True
    )
    read = AutoTokenizer.from_pretrained(saved[0]).parse_response("<think>\none\n</think>\n\ntwo", prefix=prompt)
    assert read["reasoning_content"].strip() == "one"
    assert read["content"].strip() == "two"


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "gemma2"])
def test_every_supported_family_loads(family, tmp_path):
    model = network(family)
    model.save_pretrained(tmp_path)
    assert weights_hash(load_model(tmp_path)) == weights_hash(model)


def test_bfloat16_halves_the_weights(saved):
    assert load_model(saved[0], dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ModelError, match="float32, bfloat16"):
        load_model(saved[0], dtype="int3")


def test_dropout_is_off_even_in_training_mode(tmp_path):
    network("granite", attention_dropout=0.5).save_pretrained(tmp_path)
    loaded = load_model(tmp_path).train()
    sequences = token_rows(6)
    assert torch.equal(run_packed(loaded, sequences)[0], run_packed(loaded, sequences)[0])


def test_the_hash_changes_with_any_parameter_its_dtype_and_its_name():
    model = network("qwen2", tie_word_embeddings=False)
    seen = {weights_hash(model)}
    for _, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-3
        seen.add(weights_hash(model))
    count = len(list(model.parameters()))
    assert len(seen) == count + 1
    seen.add(weights_hash(model.bfloat16()))
    assert len(seen) == count + 2
    one, two = torch.nn.Linear(2, 2, bias=False), torch.nn.Bilinear(2, 1, 2, bias=False)
    with torch.no_grad():
        two.weight.copy_(one.weight.view(2, 2, 1))
    assert weights_hash(one) != weights_hash(two)
    assert all(len(value) == 16 for value in seen)


def test_a_tied_weight_counts_once(saved):
    model = saved[1]
    assert model.lm_head.weight is model.model.embed_tokens.weight
    before = weights_hash(model)
    assert before == weights_hash(AutoModelForCausalLM.from_pretrained(saved[0]))


@pytest.mark.parametrize(
    ("source", "code"),
    [("/no/such/model", "Z200"), ("tests", "Z200"), ("a b c", "Z200"), ("tests/nothing", "Z200"), ("x\0y", "Z200")],
)
def test_a_source_that_is_no_model_is_refused_at_once(source, code, root, monkeypatch):
    monkeypatch.chdir(root)
    for load in (load_model, load_tokenizer):
        with pytest.raises(ModelError, match=code) as caught:
            load(source)
        assert caught.value.fix


def test_a_known_model_that_was_not_fetched_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("ZERO2R1_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="Z200") as caught:
        load_model("smollm2-135m")
    assert caught.value.fix == "zero2r1 models get smollm2-135m"


def test_a_file_that_is_not_gguf_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ModelError, match=r"Z203.*not a GGUF"):
        load_model(path)


def test_code_beside_a_model_is_never_run(damaged):
    marker = damaged / "ran"
    (damaged / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    change_config(damaged, auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})
    tokenizer_config = damaged / "tokenizer_config.json"
    settings = json.loads(tokenizer_config.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    tokenizer_config.write_text(json.dumps(settings))
    assert load_model(damaged).config.model_type == "qwen3"
    assert load_tokenizer(damaged).eos_token == "<|end|>"
    assert not marker.exists()


def test_an_architecture_that_needs_its_own_code_is_refused(damaged):
    marker = damaged / "ran"
    (damaged / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    change_config(damaged, model_type="evil", architectures=["Evil"], auto_map={"AutoConfig": "evil.Evil"})
    with pytest.raises(ModelError, match="Z204"):
        load_model(damaged)
    assert not marker.exists()


def test_pickled_weights_are_not_read(damaged):
    torch.save(load_file(damaged / "model.safetensors"), damaged / "pytorch_model.bin")
    (damaged / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="Z200"):
        load_model(damaged)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 64])
def test_damaged_files_are_named_as_such(damaged, name, content):
    (damaged / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"Z20[03]") as caught:
        load_model(damaged)
    assert str(damaged) in caught.value.where
    assert caught.value.fix


def test_a_missing_weight_is_an_error_and_never_a_random_number(damaged):
    weights = load_file(damaged / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"Z203(.|\n)*layers\.0\.mlp\.up_proj"):
        load_model(damaged)


def test_weights_of_another_shape_are_an_error(damaged):
    change_config(damaged, intermediate_size=64)
    with pytest.raises(ModelError, match="Z203"):
        load_model(damaged)


@pytest.mark.parametrize("kind", ["linear_attention", "chunked_attention"])
def test_layers_that_would_mix_packed_sequences_are_refused(damaged, kind):
    change_config(damaged, layer_types=[kind, "full_attention"])
    with pytest.raises(ModelError, match=r"Z20[23]"):
        load_model(damaged)


def test_an_encoder_decoder_is_refused(tmp_path):
    shape = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 32}
    T5ForConditionalGeneration(T5Config(**shape)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"Z20[023]"):
        load_model(tmp_path)


def test_capped_attention_is_refused_when_loading(tmp_path):
    network("gemma2").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="Z202"):
        load_model(tmp_path)


def test_a_tokenizer_without_an_end_is_refused(damaged):
    path = damaged / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["eos_token"]
    path.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="Z205"):
        load_tokenizer(damaged)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    ours(network("qwen3")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"Z200.*holds no tokenizer"):
        load_tokenizer(tmp_path)
    assert load_model(tmp_path).config.model_type == "qwen3"
