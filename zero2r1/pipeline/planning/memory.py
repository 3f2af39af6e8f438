"""Bytes of each thing that training and sampling hold, as this package allocates it.

Peak = what is always there + the larger of what sampling and what learning add. Sampler and learner share the weights;
the cache is freed before an update begins, gradients after it ends.

What it does not do: fragmentation, or the libraries' own memory (the plan measures that on this machine).
"""

from collections.abc import Mapping

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning.shapes import Shape, adapter_parameters

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
MAX_LOGITS = 2**24
"""Logits alive at once in `models.logprobs`; a test holds that the two are equal."""
WORKSPACE = 48 * 2**20
"""Bytes of heap that lie between blocks or wait in libraries on a CPU. Ours: the tiny recipe's stages held 18 to 116
MiB more than the other terms under glibc."""
LOGIT_ROWS = 1024
"""Rows of logits made at once there."""


def weight_bytes(parameters: int, dtype: str) -> int:
    """parameters * bytes of the dtype. Ours: the definition."""
    return parameters * BYTES[dtype]


def gradient_bytes(parameters: int, dtype: str) -> int:
    """4 * parameters: sums are float32; bfloat16 adds 2 * parameters for the newest pass before it is added.

    Ours: as `learner/optimizer.py` allocates them.
    """
    return parameters * (4 if dtype == "float32" else 6)


def optimizer_bytes(parameters: int, dtype: str) -> int:
    """8 * parameters: AdamW's two float32 moments; bfloat16 adds 4 * parameters for master weights.

    Ours: as `learner/optimizer.py` allocates them.
    """
    return parameters * (8 if dtype == "float32" else 12)


def activations_per_token(shape: Shape, dtype: str) -> int:
    """Bytes a token leaves behind in a forward pass for the backward pass, without gradient checkpointing.

        layer = 6 E + 4 I + heads * (key + value) + kv_heads * (key + value)     (numbers)
        with norms on queries and keys: + 2 * (heads + kv_heads) * key
        activations = layers * layer * bytes + 2 E * bytes

    Two norms keep stream, normed and scaled; the feed-forward keeps gate, its activation, up, and their product;
    attention keeps queries, keys, values and its output. Rows of unlike length are padded by up to a quarter in
    attention only, which is left out.
    Ours: counted from the network's saved tensors (a test counts them again).
    """
    layer = 6 * shape.hidden + 4 * shape.intermediate
    layer += (shape.heads + shape.kv_heads) * (shape.key_width + shape.value_width)
    if shape.has_qk_norm:
        layer += 2 * (shape.heads + shape.kv_heads) * shape.key_width
    return (shape.layers * layer + 2 * shape.hidden) * BYTES[dtype]


def backward_per_token(shape: Shape, dtype: str) -> int:
    """(3 I + 2 E) * bytes: gradients of gate, up and product, of the stream and of a norm, while all else is alive.

    Ours: the first layer that goes backward, when every other layer's activations are still held.
    """
    return (3 * shape.intermediate + 2 * shape.hidden) * BYTES[dtype]


def logits_bytes(rows: int, vocab: int) -> int:
    """2 * 4 * min(rows, 1024, 2^24 / vocab) * vocab: float32 logits of one chunk and one array of their size.

    Ours: as `models/logprobs.py` makes them.
    """
    return 8 * max(1, min(rows, LOGIT_ROWS, MAX_LOGITS // vocab)) * vocab


def cache_bytes_per_token(shape: Shape, dtype: str) -> int:
    """layers * kv_heads * (key + value width) * bytes: keys and values of one token. Ours: as `policy/cache.py`."""
    return shape.layers * shape.kv_heads * (shape.key_width + shape.value_width) * BYTES[dtype]


def sampling_logits_bytes(slots: int, vocab: int) -> int:
    """4 * 4 * slots * vocab: logits, scaled logits, odds and one temporary in float32. Ours: as `policy/sampler.py`."""
    return 16 * slots * vocab


def peak(terms: Mapping[str, int]) -> int:
    """runtime + workspace + weights + optimizer + reference + max(sampling, learning), in bytes.

    sampling = cache + sampling logits; learning = gradients + activations + backward + logits. Terms that are absent
    count 0. Ours: the order of allocation in one update.
    """
    always = sum(terms.get(name, 0) for name in ("runtime", "workspace", "weights", "optimizer", "reference"))
    sampling = terms.get("kv_cache", 0) + terms.get("sampling_logits", 0)
    learning = sum(terms.get(name, 0) for name in ("gradients", "activations", "backward", "logits"))
    return always + max(sampling, learning)


def training_terms(shape: Shape, learner: LearnerConfig, *, pass_tokens: int, has_reference: bool) -> dict[str, int]:
    """Bytes by term of a stage that learns, with passes of `pass_tokens` tokens.

    With adapters, optimizer, reference and gradients are theirs alone, and each pass keeps A x of every adapted layer
    for them: rank numbers a token.
    """
    dtype = learner.compute_dtype
    added, factors = (0, 0) if learner.lora is None else adapter_parameters(shape, learner.lora)
    trained = added if learner.lora is not None else shape.parameters
    kept = 0 if learner.lora is None else factors // 2 * learner.lora.rank * BYTES[dtype]
    return {
        "weights": weight_bytes(shape.parameters + added, dtype),
        "optimizer": optimizer_bytes(trained, dtype),
        "reference": weight_bytes(trained, dtype) if has_reference else 0,
        "gradients": gradient_bytes(trained, dtype),
        "activations": pass_tokens * (activations_per_token(shape, dtype) + kept),
        "backward": pass_tokens * backward_per_token(shape, dtype),
        "logits": logits_bytes(pass_tokens, shape.vocab),
    }
