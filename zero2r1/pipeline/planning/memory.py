"""Bytes of each thing that training and sampling hold, as this package allocates it.

Peak = what is always there + the larger of what sampling and what learning add. Sampler and learner share the weights;
the cache is freed before an update begins, gradients after it ends. Compiled code holds some weights once more, laid
out for it, the output layer among them.

E is the width of the stream, V the vocabulary, I the width of a feed-forward, N all parameters, b the bytes of a number
of the network and s those of a number of the stream.

What it does not do: fragmentation, or the libraries' own memory (the plan measures that on this machine).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning.shapes import Shape, adapter_parameters

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
WORKSPACE = 48 * 2**20
"""Bytes of heap that lie between blocks or wait in libraries on a CPU. Ours: the tiny recipe's stages held 18 to 116
MiB more than the other terms under glibc."""
MAX_LOGITS, CACHED_LOGITS, DEVICE_LOGITS, KEPT_BYTES = 2**24, 2**18, 2**22, 2**28
"""Logits alive at once, and between two products on a CPU and elsewhere, and what may wait for the backward pass; a
test holds that they are `models.logprobs`'s own."""
LOGIT_ROWS = 2048
"""Rows of logits made at once there, at most; held by the same test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs a network, as far as memory depends on it. The defaults are those of an accelerator."""

    is_cpu: bool = False
    is_quick: bool = False
    """The learner's norms and feed-forwards are compiled (`models/layers.py`)."""
    is_wide: bool = False
    """The learner's sum of all layers is float32 whatever the network is."""
    layout: Literal["shared", "joined", "packed"] = "shared"
    """Weights the sampler holds beside the learner's: none; those it joins; or all matrices once more
    (`models/fused.py`)."""
    is_read_compiled: bool = False
    """The learner's logits are read by compiled code, which may keep their gradient (`models/logprobs.py`)."""
    is_recordable: bool = False
    """What is sampled can be recorded for the learner (`models/recording.py`)."""
    head_bytes: int = 0
    """Bytes a number of the output layer is held in once more by what multiplies with it: 4, 2 (`models/head.py`)."""


def weight_bytes(parameters: int, dtype: str) -> int:
    """parameters * bytes of the dtype. Ours: the definition."""
    return parameters * BYTES[dtype]


def gradient_bytes(parameters: int) -> int:
    """4 * parameters: the sum of the passes is float32 in both dtypes. Ours: as `learner/optimizer.py` allocates it."""
    return 4 * parameters


def newest_bytes(parameters: int, table: int, dtype: str) -> int:
    """What a pass has made and not added to the sum, at its end.

        float32:  8 * table                      (adds to the sum itself; `table`: the head's and the embedding's)
        bfloat16: 2 * parameters + 2 * table

    table: V * E where the embedding is trained, else 0.
    Ours: autograd adds the two gradients of a tied embedding before it hands them on.
    """
    return 8 * table if dtype == "float32" else 2 * (parameters + table)


def optimizer_bytes(parameters: int, dtype: str, *, offload: bool = False) -> int:
    """Bytes of AdamW's state, by parameter: 8 for two float32 moments, and

        float32:  nothing more;  offloaded 4 for masters and 4 for gradients on their way
        bfloat16: 4 for masters; offloaded 4 for gradients and 2 for rounded weights on their way

    Offloaded, all of it is in host memory. Ours: as `learner/optimizer.py` allocates it.
    """
    if offload:
        return parameters * (16 if dtype == "float32" else 18)
    return parameters * (8 if dtype == "float32" else 12)


def activations_per_token(
    shape: Shape, dtype: str, running: Running, *, recompute: bool = False, is_read: bool = False
) -> int:
    """Bytes a token leaves behind in a forward pass for the backward pass.

        norm = (4 + 2 b) E,  feed_forward = 4 I b                  transformers' layers
        norm = (s + b) E,    feed_forward = 2 I b                  compiled ones; 0 where gate and up are recorded
        attention = (heads + kv_heads) * (key + value) * b
        with norms on queries and keys: + (heads + kv_heads) * key * (b, and 4 in transformers' layers)
        layer = 2 norm + feed_forward + attention
        activations = layers * layer + norm + 2 key s
        recomputing = layers * E s + layer + norm + 2 key s

    transformers' norm keeps its input in float32, the normed and the scaled; a compiled one its input, and what comes
    next the scaled. The feed-forward keeps gate, its activation, up, and their product, or gate and up; attention keeps
    queries, keys, values and its output; 2 key: cosines and sines. Rows of unlike length are padded by up to a quarter
    in attention only, which is left out.
    Ours: counted from the network's saved tensors (a test counts them again).
    """
    b, stream = BYTES[dtype], _stream(dtype, running)
    norm = shape.hidden * (stream + b if running.is_quick else 4 + 2 * b)
    feed_forward = 0 if is_read else (2 if running.is_quick else 4) * shape.intermediate * b
    heads = shape.heads + shape.kv_heads
    attention = heads * (shape.key_width + shape.value_width) * b
    if shape.has_qk_norm:
        attention += heads * shape.key_width * (b if running.is_quick else b + 4)
    layer = 2 * norm + feed_forward + attention
    kept = shape.layers * shape.hidden * stream + layer if recompute else shape.layers * layer
    return kept + norm + 2 * shape.key_width * stream


def backward_per_token(shape: Shape, dtype: str, running: Running) -> int:
    """3 I b + 2 E s: gradients of gate, up and product, of the stream and of a norm, while all else is alive.

    Ours: the first layer that goes backward, when every other layer's activations are still held.
    """
    return 3 * shape.intermediate * BYTES[dtype] + 2 * shape.hidden * _stream(dtype, running)


def logits_bytes(rows: int, vocab: int, dtype: str, *, is_cpu: bool) -> int:
    """Logits of one chunk of rows, and the rooms in which a few of them are worked on.

        each  = 4 float32; on a CPU 6, elsewhere 2 bfloat16
        chunk = min(rows, 2048, 2^27 / (each V)),  few = min(chunk, 2^18 (elsewhere 2^22) / V)
        bytes = each * chunk * V + 4 * few * V     (bfloat16 elsewhere: 8 * few * V)

    6: on a CPU logits of bfloat16 factors are float32, beside their gradient in bfloat16.
    Ours: as `models/logprobs.py` makes them.
    """
    each = 4 if dtype == "float32" else 6 if is_cpu else 2
    chunk = max(1, min(rows, LOGIT_ROWS, 8 * MAX_LOGITS // (each * vocab)))
    few = max(1, min((CACHED_LOGITS if is_cpu else DEVICE_LOGITS) // vocab, chunk))
    return each * chunk * vocab + (8 if each == 2 else 4) * few * vocab


def kept_bytes(rows: int, vocab: int, dtype: str, running: Running) -> int:
    """b * rows * V: the gradient by the logits, written in the forward pass where that is at most 2^28 bytes, else 0.

    Ours: as `models/logprobs.py` decides.
    """
    kept = BYTES[dtype] * rows * vocab
    return kept if running.is_read_compiled and kept <= KEPT_BYTES else 0


def head_bytes(rows: int, vocab: int, table: int, dtype: str, running: Running, *, is_trained: bool) -> int:
    """The head's largest moment, while all activations are held.

        made again: logits + copy + 4 table            kept: kept + max(logits + copy, b table)

    logits: `logits_bytes`; kept: `kept_bytes`; copy: the output layer once more, `running.head_bytes` a number; table:
    V * E, whose gradient is float32 when it is summed over chunks (none where it is not trained).
    Ours: as `models/logprobs.py` makes them.
    """
    kept = kept_bytes(rows, vocab, dtype, running)
    forward = logits_bytes(rows, vocab, dtype, is_cpu=running.is_cpu) + running.head_bytes * table
    if kept:
        return kept + max(forward, BYTES[dtype] * table if is_trained else 0)
    return forward + (4 * table if is_trained else 0)


def cache_bytes_per_token(shape: Shape, dtype: str) -> int:
    """layers * kv_heads * (key + value width) * b: keys and values of one token. Ours: as `policy/cache.py`."""
    return shape.layers * shape.kv_heads * (shape.key_width + shape.value_width) * BYTES[dtype]


def layout_bytes(shape: Shape, dtype: str, running: Running, *, has_adapters: bool) -> int:
    """Weights that the sampler's compiled code holds beside the learner's.

        packed: b * all matrices + h V E           joined: b * (q, k, v, gate, up) + h V E

    h: the output layer once more, as its product reads it. Adapters are merged into new matrices, so all of them are
    held.
    Ours: as `models/fused.py` makes them.
    """
    if running.layout == "shared":
        return 0
    held = shape.joined if running.layout == "joined" and not has_adapters else shape.matrices
    return held * BYTES[dtype] + running.head_bytes * shape.table


def sampling_logits_bytes(slots: int, vocab: int, *, is_drawn: bool) -> int:
    """4 * slots * V float32 logits; where compiled code does not draw from them, 16: scaled, odds and one temporary.

    Ours: as `models/kernels` and `policy/sampler.py`.
    """
    return (4 if is_drawn else 16) * slots * vocab


def peak(terms: Mapping[str, int], *, keeps_sampler: bool = True) -> int:
    """always + max(sampling, learning), in bytes; terms that are absent count 0.

        always   = runtime + workspace + weights + optimizer + reference + recording
        sampling = kv_cache + gathered + sampling_logits + sampler
        learning = gradients + max(activations + max(head, backward), newest) [+ sampler]

    keeps_sampler: reinforcement learning keeps what its sampler laid out while it learns.
    Ours: the order of allocation in one update: the head goes backward first, the embedding last.
    """

    def sum_of(*names: str) -> int:
        return sum(terms.get(name, 0) for name in names)

    sampling = sum_of("kv_cache", "gathered", "sampling_logits", "sampler")
    held = sum_of("activations") + max(sum_of("head"), sum_of("backward"))
    learning = sum_of("gradients") + max(held, sum_of("newest")) + (sum_of("sampler") if keeps_sampler else 0)
    always = sum_of("runtime", "workspace", "weights", "optimizer", "reference", "recording")
    return always + max(sampling, learning)


def training_terms(
    shape: Shape,
    learner: LearnerConfig,
    *,
    pass_tokens: int,
    has_reference: bool,
    running: Running,
    is_read: bool = False,
) -> dict[str, int]:
    """Bytes by term of a stage that learns, with passes of `pass_tokens` tokens.

    With adapters, optimizer, reference and gradients are theirs alone, and each pass keeps A x of every adapted layer
    for them: rank numbers a token; adapted feed-forwards are transformers' own. `host`: what `offload` puts into the
    memory of an accelerator's host.

    Args:
        is_read: its passes read a recording.
    """
    dtype = learner.compute_dtype
    is_whole = learner.lora is None
    running = running if is_whole else replace(running, is_quick=False)
    added, factors = (0, 0) if learner.lora is None else adapter_parameters(shape, learner.lora)
    trained = shape.parameters if is_whole else added
    kept = 0 if learner.lora is None else factors // 2 * learner.lora.rank * BYTES[dtype]
    table = shape.table if is_whole else 0
    activations = kept + activations_per_token(
        shape, dtype, running, recompute=learner.activation_checkpointing, is_read=is_read
    )
    state = optimizer_bytes(trained, dtype, offload=learner.offload == "cpu")
    is_away = learner.offload == "cpu" and not running.is_cpu
    return {
        "weights": weight_bytes(shape.parameters + added, dtype),
        "optimizer": 0 if is_away else state,
        "host": state if is_away else 0,
        "reference": weight_bytes(trained, dtype) if has_reference else 0,
        "gradients": gradient_bytes(trained),
        "newest": newest_bytes(trained, table, dtype) if is_whole or dtype == "bfloat16" else 0,
        "activations": pass_tokens * activations,
        # The head's gradient waits until the embedding's joins it.
        "backward": pass_tokens * backward_per_token(shape, dtype, running) + weight_bytes(table, dtype),
        "head": head_bytes(pass_tokens, shape.vocab, shape.table, dtype, running, is_trained=is_whole),
    }


def _stream(dtype: str, running: Running) -> int:
    return 4 if running.is_wide else BYTES[dtype]
