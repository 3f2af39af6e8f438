"""Models out: a plain Hugging Face directory, and the hash that names weights.

A model with LoRA adapters is written and named as the plain model it stands for, W + s B A in place of each W.

What it does not do: it is not atomic (write aside, then `core.atomic.commit_directory`), and it does not look for NaN.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from zero2r1.models.lora import has_adapters, merged_names, merged_state, merged_tensor, save_adapter

Counters = tuple[tuple[int, int], ...]
"""See `counters_of`."""


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: str | Path) -> None:
    """Writes a Hugging Face directory that loads anywhere with `AutoModelForCausalLM.from_pretrained`.

    Weights as safetensors; chat and response template travel with the tokenizer; zero2r1's attention leaves no trace
    in config.json. The directory is made when missing; it is not written atomically (see core.run.commit_directory).

    Adapters are merged into the weights; a folder `adapter` in peft's own format holds them alone, for the base they
    were trained on.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bars():
        if has_adapters(model):
            model.save_pretrained(folder, state_dict=merged_state(model))
            save_adapter(model, folder / "adapter")
        else:
            model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def weights_hash(model: nn.Module) -> str:
    """sha256 over name, dtype, shape and bytes of every parameter and saved buffer, names sorted; 16 hex digits.

    A tied tensor counts once, under the first of its names. A model with adapters has the hash of the plain model it
    stands for: what `save_model` writes, loaded again, has the same.
    """
    digest = hashlib.sha256()
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    stored = model.state_dict()
    for name, origin in sorted(merged_names(model).items()):
        tensor = stored[origin]
        identity = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and identity in seen:
            continue
        seen.add(identity)
        tensor = merged_tensor(model, origin, tensor)  # one at a time: all of them would be a second model
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def counters_of(model: nn.Module) -> Counters:
    """Where each parameter lies and how often it was written to in place: equal while the weights are the same.

    Free, where a hash takes a second a gigabyte; blind to changes made through `.data`.
    """
    return tuple((parameter.data_ptr(), parameter._version) for parameter in model.parameters())


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Without transformers' own progress bars, which would be drawn over a live display; as it was afterwards."""
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()
