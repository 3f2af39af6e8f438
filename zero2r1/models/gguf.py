"""GGUF files in: llama.cpp's model format, read through transformers and dequantised.

What it does not do: no writing, no training on quantised weights (they are turned into float32 or bfloat16 once).
"""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from zero2r1.core.errors import MissingExtraError, ModelError
from zero2r1.models.attention import register_attention
from zero2r1.models.save import no_progress_bars, save_model

MAGIC = b"GGUF"


def is_gguf(place: str | Path) -> bool:
    """True when the place is a file that begins as GGUF files do."""
    path = Path(place)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def load_gguf(path: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """The model in a GGUF file, its weights dequantised to `dtype`. Takes half a minute for 135 M parameters.

    Raises:
        MissingExtraError: the `gguf` package is not installed.
        ModelError: the file is damaged, or holds an architecture or quantisation that transformers cannot read.
    """
    require_gguf()
    try:
        config = AutoConfig.from_pretrained(
            str(path.parent), gguf_file=path.name, trust_remote_code=False, local_files_only=True
        )
        with torch.random.fork_rng(devices=[]):  # the network's own first weights are drawn and thrown away
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=register_attention())
        # Not from_pretrained(gguf_file=...): that asks for one more package, whose only part in this is a check.
        weights = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)["tensors"]
        absent, strange = model.load_state_dict(weights, strict=False)
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    model.tie_weights()
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if config.tie_word_embeddings else set()
    if wrong := sorted({*absent, *strange} - tied):
        raise _damaged(path, f"weights missing or unknown: {', '.join(wrong[:4])}")
    return model


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a GGUF file, with its chat template. Raises as `load_gguf` does."""
    require_gguf()
    try:
        return AutoTokenizer.from_pretrained(
            str(path.parent), gguf_file=path.name, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def convert(path: Path, directory: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Writes the model and tokenizer of a GGUF file as a Hugging Face directory. Raises as `load_gguf` does."""
    with no_progress_bars():
        save_model(load_gguf(path, dtype=dtype), load_gguf_tokenizer(path), directory)


def require_gguf() -> None:
    """MissingExtraError when the optional package that reads the format is not installed."""
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError("Z201", "reading a GGUF file needs the 'gguf' extra", fix="pip install 'zero2r1[gguf]'")


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(
        "Z203",
        "the GGUF file cannot be read",
        where=str(path),
        why=(reason.strip().splitlines() or [""])[0][:300],
        fix="check the file's sha256 and fetch it again, or convert it to a Hugging Face directory elsewhere",
    )
