"""GGUF files give the model and tokenizer that were put in; damaged ones are named as such."""

import sys

import gguf
import pytest
import torch
from networks import network, run_packed, token_rows

from zero2r1.core.errors import MissingExtraError, ModelError
from zero2r1.models.gguf import convert, is_gguf, load_gguf
from zero2r1.models.head import head_of
from zero2r1.models.load import load_model, load_tokenizer, weights_hash

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names inside a layer: transformers' on the left, the format's on the right."""


def gguf_name(name):
    """`model.layers.1.mlp.up_proj.weight` is `blk.1.ffn_up.weight` in the format."""
    if name.startswith("model.layers."):
        _, _, layer, *inner, kind = name.split(".")
        return f"blk.{layer}.{NAMES['.'.join(inner)]}.{kind}"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]


def write_gguf(path, model, *, leave_out=()):
    """A Qwen2 network with a byte-level vocabulary of 128 tokens, in float32."""
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    letters = sorted(chr(code) for code in range(33, 127))
    merges = [f"{one} {one}" for one in letters[: config.vocab_size - len(letters) - 2]]
    writer.add_token_list(["<pad>", "<end>", *letters, *(merge.replace(" ", "") for merge in merges)])
    writer.add_token_types([3, 3] + [1] * (len(letters) + len(merges)))
    writer.add_token_merges(merges)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    for name, parameter in model.named_parameters():
        if name not in leave_out:
            writer.add_tensor(gguf_name(name), parameter.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def source():
    return network("qwen2", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(path, source)
    return path


def test_the_file_gives_the_network_that_was_put_in(source, file):
    assert is_gguf(file)
    sequence = token_rows(7)[0]
    loaded = load_model(file)
    assert not loaded.training
    with torch.no_grad():
        expected = source(torch.tensor([sequence])).logits[0]
        found = head_of(loaded).logits(run_packed(loaded, [sequence])[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert weights_hash(loaded) == weights_hash(source)


def test_loading_leaves_torchs_generator_alone(file):
    before = torch.get_rng_state()
    load_gguf(file, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_tokenizer_comes_with_it(file):
    tokenizer = load_tokenizer(file)
    assert tokenizer.eos_token == "<end>"
    assert tokenizer.decode(tokenizer.encode("!!a+b")) == "!!a+b"


def test_converted_it_is_a_plain_directory(source, file, tmp_path):
    convert(file, tmp_path / "made")
    assert weights_hash(load_model(tmp_path / "made")) == weights_hash(source)
    assert load_tokenizer(tmp_path / "made").eos_token == "<end>"


def test_bfloat16_on_demand(file):
    assert load_model(file, dtype="bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("size", [4, 100, 5000])
def test_a_torn_file_is_damaged(file, tmp_path, size):
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(file.read_bytes()[:size])
    for load in (load_model, load_tokenizer):
        with pytest.raises(ModelError, match="Z203") as caught:
            load(torn)
        assert caught.value.fix


def test_a_missing_weight_is_an_error(source, tmp_path):
    write_gguf(tmp_path / "part.gguf", source, leave_out=("model.layers.1.mlp.up_proj.weight",))
    with pytest.raises(ModelError, match=r"Z203(.|\n)*layers\.1\.mlp\.up_proj"):
        load_model(tmp_path / "part.gguf")


def test_without_the_package_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="Z201") as caught:
        load_model(file)
    assert "zero2r1[gguf]" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [b"", b"GGU", b"GGML1234"])
def test_only_the_right_first_bytes_make_a_gguf(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    assert not is_gguf(tmp_path / "x.gguf")
    assert not is_gguf(tmp_path)
