"""Bytes on disk: checkpoints, the finished model, stored rollouts.

What it does not do: compress, or count logs (a line of metrics is about 1 kB).
"""

HEADER_PER_TENSOR = 120
"""Bytes of a safetensors header entry. Ours: an allowance; a test holds a saved checkpoint to 1 %."""
ROW_OVERHEAD = 900
"""Bytes of a stored rollout row besides its text: ids, scores, notes. Ours: an allowance, not measured."""
BYTES_PER_TOKEN = 4
"""Text bytes of a token. Ours: English in vocabularies of 30,000 and more; tiny vocabularies have fewer."""


def checkpoint_bytes(parameters: int, tensors: int, dtype: str, *, has_reference: bool, tokenizer: int) -> int:
    """model + moments (+ master weights) (+ reference) + headers + tokenizer files, in bytes.

        weights = parameters * (4 or 2)
        checkpoint = weights * (1 + reference) + 8 * parameters (+ 4 * parameters for bfloat16) + headers + tokenizer

    Ours: what `learner/checkpoint.py` writes; AdamW adds one 4-byte step a tensor.
    """
    width = 4 if dtype == "float32" else 2
    copies = 2 if has_reference else 1
    moments = parameters * (8 if dtype == "float32" else 12)
    entries = tensors * (copies + (3 if dtype == "float32" else 4))
    return copies * parameters * width + moments + 4 * tensors + HEADER_PER_TENSOR * entries + tokenizer


def model_bytes(parameters: int, tensors: int, dtype: str, *, tokenizer: int) -> int:
    """weights + header + tokenizer files, in bytes. Ours: what `models/save.py` writes."""
    return parameters * (4 if dtype == "float32" else 2) + HEADER_PER_TENSOR * tensors + tokenizer


def rollout_bytes(updates: int, *, every: int, rows: int, response_tokens: float | int) -> int:
    """ceil(updates / every) * rows * (900 + tokens * (4 text + 8 arrays)), in bytes.

    Ours: text as JSON beside int32 ids and float32 log-probabilities.
    """
    return -(-updates // every) * rows * round(ROW_OVERHEAD + response_tokens * (BYTES_PER_TOKEN + 8))
