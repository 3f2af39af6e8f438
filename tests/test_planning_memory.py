"""The planner's bytes: of training by hand and against what the network saves, and of what is laid out for sampling."""

import inspect
from typing import Any

import pytest
import torch

from zero2r1.learner.base import Batch, Row
from zero2r1.learner.config import LearnerConfig, LoraConfig
from zero2r1.learner.learner import Learner
from zero2r1.models import logprobs
from zero2r1.models.fused import FusedNetwork, lays_out
from zero2r1.models.head import head_of
from zero2r1.models.kernels.products import Packed
from zero2r1.pipeline.planning import memory
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.probes import running_of
from zero2r1.pipeline.planning.shapes import Shape, adapter_parameters, build, shape_of
from zero2r1.policy.network import fused_network_of, network_of

SMALL = {
    "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 64, "tie_word_embeddings": True,
}  # fmt: skip
OWN = Running(is_cpu=True)
QUICK = Running(is_cpu=True, is_quick=True)
WIDE = Running(is_cpu=True, is_quick=True, is_wide=True)


@pytest.fixture(scope="module")
def small() -> Shape:
    return shape_of({"model_type": "qwen3", **SMALL}, "small")


def test_states_of_training():
    # float32: 4 + 4 + 8 bytes a parameter. bfloat16: 2 weights, 4 gradients, 2 newest, 8 + 4 moments and master.
    assert memory.weight_bytes(10, "float32") == memory.gradient_bytes(10) == 40
    assert memory.weight_bytes(10, "bfloat16") == 20
    # A table of 3: the head's and the embedding's gradient, 12 bytes each; in bfloat16 20 for all and 6 for the table.
    assert memory.newest_bytes(10, 3, "float32") == 24
    assert memory.newest_bytes(10, 3, "bfloat16") == 26
    assert [memory.optimizer_bytes(10, dtype) for dtype in ("float32", "bfloat16")] == [80, 120]
    # Offloaded: moments 8, masters 4, gradients on their way 4; rounded weights 2.
    assert [memory.optimizer_bytes(10, dtype, offload=True) for dtype in ("float32", "bfloat16")] == [160, 180]


def test_logits_are_those_of_one_chunk():
    for name in ("MAX_LOGITS", "CACHED_LOGITS", "DEVICE_LOGITS", "KEPT_BYTES"):
        assert getattr(memory, name) == getattr(logprobs, name)
    assert inspect.signature(logprobs.token_logprobs).parameters["chunk"].default == memory.LOGIT_ROWS
    # 512 rows of 1000 in one chunk; 2^18 / 1000 = 262 rows are worked on.
    assert memory.logits_bytes(512, 1000, "float32", is_cpu=True) == 4 * 512 * 1000 + 4 * 262 * 1000
    # 2^27 / (6 * 49,152) = 455 rows of a float32 logit and a bfloat16 gradient; 5 are worked on.
    assert memory.logits_bytes(4096, 49_152, "bfloat16", is_cpu=True) == (6 * 455 + 4 * 5) * 49_152
    # A device: 2^27 / (2 * 49,152) = 1365 rows in bfloat16; 2^22 / 49,152 = 85 in float32, twice.
    assert memory.logits_bytes(4096, 49_152, "bfloat16", is_cpu=False) == (2 * 1365 + 8 * 85) * 49_152
    assert memory.logits_bytes(9, 2**28, "float32", is_cpu=True) == 8 * 2**28  # one row at least


def test_the_head_by_hand():
    # 10 rows of 1000 words, a layer of 4000 numbers. float32: logits 4 * 10 * 1000 twice (all 10 rows are few), a
    # gradient of 16,000; kept: 40,000 beside the larger of the logits and the gradient.
    read, plain = Running(is_cpu=True, is_read_compiled=True), Running(is_cpu=True)
    assert memory.head_bytes(10, 1000, 4000, "float32", plain, is_trained=True) == 80_000 + 16_000
    assert memory.head_bytes(10, 1000, 4000, "float32", read, is_trained=True) == 40_000 + 80_000
    # bfloat16: 60,000 + 40,000 of logits; a copy of 4 bytes a number and a gradient of 4.
    low = Running(is_cpu=True, head_bytes=4)
    assert memory.head_bytes(10, 1000, 4000, "bfloat16", low, is_trained=True) == 100_000 + 16_000 + 16_000
    assert memory.head_bytes(10, 1000, 4000, "bfloat16", low, is_trained=False) == 100_000 + 16_000
    # Laid out in 2 bytes; 20,000 kept.
    packed = Running(is_cpu=True, head_bytes=2, is_read_compiled=True)
    assert memory.head_bytes(10, 1000, 4000, "bfloat16", packed, is_trained=True) == 20_000 + 108_000
    # At the backward pass a large table's gradient of 2 bytes is more than logits were.
    assert memory.head_bytes(1, 10, 10**6, "bfloat16", packed, is_trained=True) == 20 + 2_000_000 + 60 + 40
    # 2730 rows of 49,152 in bfloat16 fit into 2^28 bytes, 2731 do not.
    assert memory.kept_bytes(2730, 49_152, "bfloat16", packed) == 2 * 2730 * 49_152
    assert memory.kept_bytes(2731, 49_152, "bfloat16", packed) == memory.kept_bytes(1, 10, "bfloat16", low) == 0


def test_activations_by_hand(small: Shape):
    # float32: a norm 3 * 96 * 4 bytes; feed-forward 4 * 256 * 4; attention 6 heads * 64 * 4; norms of heads 6 * 32 * 8:
    # 2 * 1152 + 4096 + 1536 + 1536 = 9472 a layer; at the end a norm and 64 cosines and sines.
    assert memory.activations_per_token(small, "float32", OWN) == 3 * 9472 + 1152 + 256
    # Compiled: norms 768, feed-forward 2048, attention 1536, norms of heads 768: 5888.
    assert memory.activations_per_token(small, "float32", QUICK) == 3 * 5888 + 768 + 256
    # bfloat16 with a float32 stream: norms 576, feed-forward 1024, attention 768, norms of heads 384: 3328.
    assert memory.activations_per_token(small, "bfloat16", WIDE) == 3 * 3328 + 576 + 256
    # Read from a recording, where gate and up stay: 3328 - 1024.
    assert memory.activations_per_token(small, "bfloat16", WIDE, is_read=True) == 3 * 2304 + 576 + 256
    # Computed again: the stream of 3 layers and one layer.
    assert memory.activations_per_token(small, "float32", QUICK, recompute=True) == 3 * 384 + 5888 + 768 + 256
    assert memory.backward_per_token(small, "float32", QUICK) == 4 * (3 * 256 + 2 * 96)
    assert memory.backward_per_token(small, "bfloat16", WIDE) == 2 * 3 * 256 + 4 * 2 * 96


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_activations_are_what_the_network_saves(kind: str, dtype: str, is_compiled: bool, request: Any):
    if is_compiled:
        request.getfixturevalue("kernels")
    config = {"model_type": kind, **SMALL}
    model = build(config, device="cpu").to(getattr(torch, dtype))
    settings = LearnerConfig(compute_dtype=dtype, kernels="auto" if is_compiled else "off")
    learner = Learner(model, settings, total_steps=1)
    running = running_of(model, network_of(model), head=learner.head)
    assert (running.is_quick, running.is_wide) == (is_compiled, is_compiled or dtype == "float32")
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.arange(64)
    row = Row(token_ids=tokens, loss_mask=tokens > 0, weights=torch.ones(64))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learner._forward(Batch(rows=(row,) * 8).rows, 1.0)
    counted = sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / (8 * 63)
    shape = shape_of(config, kind)
    planned = memory.activations_per_token(shape, dtype, running)
    planned += memory.kept_bytes(8 * 63, shape.vocab, dtype, running) / (8 * 63)
    assert planned == pytest.approx(counted, rel=0.01)


def test_peak():
    terms = {"weights": 10, "optimizer": 20, "kv_cache": 7, "gradients": 3, "activations": 5, "runtime": 1}
    assert memory.peak(terms) == 31 + 8
    assert memory.peak(terms | {"kv_cache": 9}) == 31 + 9
    assert memory.peak(terms | {"kv_cache": 5, "gathered": 2, "sampling_logits": 3, "sampler": 1}) == 31 + 11
    # The head's room and the first layer's gradients are never there together, nor the activations and the newest.
    assert memory.peak(terms | {"head": 4, "backward": 6, "newest": 10}) == 31 + 3 + 11
    assert memory.peak(terms | {"head": 4, "newest": 12}) == 31 + 3 + 12
    assert memory.peak(terms | {"sampler": 50, "kv_cache": 0}) == 31 + 8 + 50
    assert memory.peak(terms | {"sampler": 50, "kv_cache": 0}, keeps_sampler=False) == 31 + 50
    assert memory.peak({"host": 100, "weights": 1}) == 1


def test_terms(small: Shape):
    def of(running: Running, **settings: Any) -> dict[str, int]:
        learner = LearnerConfig(**settings)
        return memory.training_terms(small, learner, pass_tokens=100, has_reference=True, running=running)

    whole = of(QUICK)
    assert whole["reference"] == whole["weights"] == 4 * small.parameters
    assert whole["backward"] == 100 * 4 * (3 * 256 + 2 * 96) + 4 * 64 * 96
    plain = memory.training_terms(small, LearnerConfig(), pass_tokens=100, has_reference=False, running=QUICK)
    assert plain["reference"] == 0
    # Offloaded on a device all state is the host's; on a CPU it stays where it was, and more of it.
    away = of(Running(), offload="cpu", compute_dtype="bfloat16")
    assert (away["optimizer"], away["host"]) == (0, 18 * small.parameters)
    here = of(QUICK, offload="cpu")
    assert (here["optimizer"], here["host"]) == (16 * small.parameters, 0)
    assert of(QUICK, activation_checkpointing=True)["activations"] < whole["activations"]


def test_terms_of_adapters(small: Shape):
    # q and v of a layer: 96 + 128 and 96 + 64 numbers; 3 layers, rank 8.
    few = LoraConfig(rank=8, targets=("q_proj", "v_proj"))
    assert adapter_parameters(small, few) == (9216, 12)
    settings = LearnerConfig(compute_dtype="bfloat16", lora=few)
    terms = memory.training_terms(small, settings, pass_tokens=100, has_reference=True, running=OWN)
    full = memory.training_terms(
        small, LearnerConfig(compute_dtype="bfloat16"), pass_tokens=100, has_reference=True, running=OWN
    )
    # Masters and moments 12 bytes, gradients 4 and 2, reference 2 of each factor; the factors join the weights.
    names = ("optimizer", "gradients", "newest", "reference")
    assert [terms[name] for name in names] == [12 * 9216, 4 * 9216, 2 * 9216, 2 * 9216]
    assert terms["weights"] == full["weights"] + 2 * 9216
    # 8 numbers of 2 bytes of each of 6 layers, for 100 tokens.
    assert terms["activations"] == full["activations"] + 100 * 6 * 8 * 2
    # The head is read and not trained.
    assert terms["head"] == full["head"] - 4 * 64 * 96


def test_layouts_by_hand(small: Shape):
    # q 96*128, k and v 96*64, o 128*96, gate, up and down 96*256; V E = 64*96 once more in 4 or 2 bytes.
    assert (small.matrices, small.joined) == (3 * 110_592, 3 * 73_728)
    packed = Running(is_cpu=True, layout="packed", head_bytes=4)
    joined, low = (Running(is_cpu=True, layout="joined", head_bytes=size) for size in (0, 2))
    assert memory.layout_bytes(small, "bfloat16", packed, has_adapters=False) == 2 * 331_776 + 4 * 6144
    assert memory.layout_bytes(small, "float32", joined, has_adapters=False) == 4 * 221_184
    assert memory.layout_bytes(small, "bfloat16", low, has_adapters=False) == 2 * 221_184 + 2 * 6144
    assert memory.layout_bytes(small, "float32", joined, has_adapters=True) == 4 * 331_776
    assert memory.layout_bytes(small, "bfloat16", OWN, has_adapters=True) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_layout_is_what_the_compiled_network_holds(dtype: str, small: Shape, kernels: Any):
    model = build({"model_type": "qwen3", **SMALL}, device="cpu").to(getattr(torch, dtype)).eval()
    running = running_of(model, fused_network_of(model, kernels), head=head_of(model, kernels.head))
    assert running.layout == ("packed" if lays_out(getattr(torch, dtype), kernels) else "joined")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    network = FusedNetwork(model, kernels)
    held = {id(tensor): tensor for layer in network._layers for tensor in _tensors(layer)}
    head = network._head
    held |= {id(tensor): tensor for tensor in (head.weight, *([] if head.packed is None else [head.packed.panels]))}
    bytes_held = sum(
        tensor.numel() * tensor.element_size()
        for tensor in held.values()
        if tensor.layout != torch.strided or tensor.untyped_storage().data_ptr() not in own
    )
    assert memory.layout_bytes(small, dtype, running, has_adapters=False) == bytes_held


def _tensors(layer: Any) -> list[torch.Tensor]:
    """Weights that the products of a layer close over."""
    products = (layer.qkv, layer.output, layer.gate_up, layer.down)
    cells = [cell.cell_contents for product in products for cell in product.__closure__]
    weights = [cell.panels if isinstance(cell, Packed) else cell for cell in cells]
    return [one for one in weights if isinstance(one, torch.Tensor) and one.dim() >= 2]


def test_logits_while_sampling():
    assert memory.sampling_logits_bytes(8, 100, is_drawn=True) == 3200
    assert memory.sampling_logits_bytes(8, 100, is_drawn=False) == 12_800
