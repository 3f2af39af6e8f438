"""A tiny model is a pure function of its settings, leaves torch's generator alone, and learns."""

import copy
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from zero2r1.models.attention import ATTENTION, PackedContext
from zero2r1.models.config import TinyConfig
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.load import weights_hash
from zero2r1.models.logprobs import token_logprobs
from zero2r1.models.packing import pack
from zero2r1.models.probe import check_model
from zero2r1.models.tiny import make_tiny
from zero2r1.models.tokenizer import make_tokenizer

SMALL = TinyConfig(hidden_size=32, num_layers=2, intermediate_size=48, vocab_size=300)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(["1+1=2 so 2", "two and two are four"] * 9, vocab_size=300)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tokenizer):
    hashes = [weights_hash(make_tiny(SMALL, tokenizer, seed=seed)) for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_torchs_own_generator_is_left_alone_and_does_not_matter(tokenizer):
    before = torch.get_rng_state()
    first = weights_hash(make_tiny(SMALL, tokenizer, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert weights_hash(make_tiny(SMALL, tokenizer, seed=1)) == first
    torch.set_rng_state(before)


def test_the_default_has_half_a_million_parameters(tokenizer):
    # A layer: q 96*96, k and v 96*48 each, o 96*96 = 27,648; norms 2*24 + 2*96 = 240; feed-forward 3*96*256 = 73,728;
    # sum 101,616. Four layers 406,464, last norm 96. Embedding (tied): 96 a token, 98,304 at 1,024 tokens: 504,864.
    model = make_tiny(TinyConfig(), tokenizer, seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 406_464 + 96 + 96 * len(tokenizer)


def test_embeddings_are_tied_and_norms_are_one(tokenizer):
    model = make_tiny(SMALL, tokenizer, seed=0)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.tie_word_embeddings
    assert all(bool((p == 1).all()) for p in model.parameters() if p.dim() == 1)
    assert len(tokenizer) == model.config.vocab_size == model.lm_head.weight.shape[0]
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert not model.training


def test_weights_are_drawn_at_the_stated_scale(tokenizer):
    model = make_tiny(TinyConfig(hidden_size=96, num_layers=2, vocab_size=300), tokenizer, seed=0)
    layer = model.model.layers[0]
    # 1/sqrt(96) = 0.10206; down: 1/sqrt(256)/sqrt(2*2) = 0.03125; o: 0.10206/2 = 0.05103
    mixing, feeding = layer.self_attn, layer.mlp
    for linear, std in ((mixing.q_proj, 0.10206), (feeding.down_proj, 0.03125), (mixing.o_proj, 0.05103)):
        assert float(linear.weight.detach().std()) == pytest.approx(std, rel=0.05)


def test_it_carries_our_attention_and_passes_the_probe(tokenizer):
    model = make_tiny(SMALL, tokenizer, seed=0)
    assert model.config._attn_implementation == ATTENTION
    check_model(model)


def test_a_copy_is_independent(tokenizer):
    model = make_tiny(SMALL, tokenizer, seed=0)
    twin = copy.deepcopy(model)
    before = weights_hash(model)
    with torch.no_grad():
        twin.model.norm.weight.add_(1.0)
    assert weights_hash(model) == before != weights_hash(twin)


def test_it_learns_a_sequence_by_heart(tokenizer):
    model = make_tiny(SMALL, tokenizer, seed=0)
    row = pack([tokenizer.encode("two and two are four"), tokenizer.encode("1+1=2 so 2")])
    is_predicted = row.position_ids[1:] > 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss():
        hidden = hidden_states(model, row.token_ids, row.position_ids, PackedContext(row.lengths))
        logprobs, _ = token_logprobs(head_of(model), hidden[:-1][is_predicted], row.token_ids[1:][is_predicted])
        return -logprobs.mean()

    start = float(loss().detach())
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    # ln 300 = 5.7 is chance; drawn tied embeddings start somewhat above it
    assert 4.0 < start < 8.0
    assert float(loss().detach()) < 0.1


@pytest.mark.parametrize("wrong", [{"num_kv_heads": 3}, {"hidden_size": 100}, {"num_layers": 0}, {"width": 3}])
def test_impossible_shapes_are_refused_before_any_work(wrong):
    with pytest.raises(ValidationError):
        TinyConfig(**wrong)


def test_settings_load_without_torch(root):
    code = "import sys, zero2r1.models.config; print('torch' in sys.modules or 'transformers' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
