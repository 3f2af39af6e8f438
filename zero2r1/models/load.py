"""Models in and out: a local directory, a hub id or a GGUF file in; a plain Hugging Face directory out.

What it does not do:
    - It never runs code that came with a model: `trust_remote_code` is off, `auto_map` is ignored, and weights are
      read from safetensors only (pickled weights are refused).
    - It does not quantise or shard.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.dialogue import CHAT_TEMPLATES, RESPONSE_TEMPLATES
from zero2r1.core.errors import ModelError
from zero2r1.models.attention import register_attention
from zero2r1.models.device import require_device
from zero2r1.models.fetch import KNOWN, is_fetched, model_folder
from zero2r1.models.gguf import is_gguf, load_gguf, load_gguf_tokenizer
from zero2r1.models.probe import check_model
from zero2r1.models.save import no_progress_bars, save_model, weights_hash

__all__ = ["load_model", "load_tokenizer", "save_model", "set_template", "weights_hash"]

MODEL_FILES = ("config.json",)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
"""Of each, a directory has at least one. transformers would make up an empty tokenizer out of config.json alone."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HUB_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?$")


def load_model(source: str | Path, *, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """A causal language model with zero2r1's attention, in eval mode and without dropout.

    Args:
        source: a Hugging Face directory, a `.gguf` file, a key of `fetch.KNOWN` that has been fetched, or a hub id
            `org/name`, optionally `org/name@revision`.
        dtype: of the weights, `float32` or `bfloat16`.
        device: where it is put, `cpu` or `cuda`. There it is tried, too (`models.probe`).

    Raises:
        ConfigError: no GPU is here (Z116).
        ModelError: not found (Z200), unsupported architecture (Z202), damaged (Z203), wants its own code (Z204).
    """
    if dtype not in DTYPES:
        raise ModelError("Z202", f"dtype {dtype!r} is not supported", fix=f"one of {', '.join(DTYPES)}")
    require_device(device)
    place = _locate(source, MODEL_FILES)
    with no_progress_bars():
        model = _gguf_or_directory(place, DTYPES[dtype])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.eval().to(device)
    check_model(model)
    return model


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a source that `load_model` takes.

    Raises:
        ModelError: not found (Z200), or without an end-of-sequence token (Z205).
    """
    place = _locate(source, TOKENIZER_FILES)
    if is_gguf(place):
        tokenizer = load_gguf_tokenizer(Path(place))
    else:
        name, options = _name_and_options(place)
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
        except Exception as error:
            raise _load_error(place, "tokenizer", error) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "Z205",
            "the tokenizer has no end-of-sequence token",
            where=str(source),
            why="without one no answer ever ends",
            fix="set eos_token in tokenizer_config.json",
        )
    return tokenizer


def set_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Gives the tokenizer a chat template of `core.dialogue` and the response template that reads its answers.

    Raises:
        ModelError: no template of this name (Z209).
    """
    if name not in CHAT_TEMPLATES:
        raise ModelError("Z209", f"no chat template {name!r}", fix=f"one of {', '.join(sorted(CHAT_TEMPLATES))}")
    tokenizer.chat_template = CHAT_TEMPLATES[name]
    tokenizer.response_template = RESPONSE_TEMPLATES.get(name)


def _locate(source: str | Path, any_of: Sequence[str]) -> str | Path:
    """A path that exists, or a hub id; ModelError for anything else."""
    path = Path(source).expanduser()
    if path.is_dir():
        if any((path / name).is_file() for name in any_of):
            return path
        raise ModelError(
            "Z200",
            "the directory holds no model" if any_of == MODEL_FILES else "the directory holds no tokenizer",
            where=str(path),
            why=f"it has no {' or '.join(any_of)}",
            fix="name a Hugging Face model directory, e.g. runs/NAME/stages/STAGE/model",
        )
    if path.is_file():
        if is_gguf(path):
            return path
        raise ModelError(
            "Z203",
            "the file is not a GGUF model",
            where=str(path),
            why="GGUF files begin with the four bytes 'GGUF'",
            fix="name a Hugging Face model directory or a .gguf file",
        )
    if str(source) in KNOWN:
        if is_fetched(str(source)):
            return model_folder(str(source))
        raise ModelError(
            "Z200", "the model has not been fetched", where=str(source), fix=f"zero2r1 models get {source}"
        )
    # `runs/old/model` of a run that is gone looks like a hub id; where its first folder exists it is a path.
    if isinstance(source, str) and HUB_ID.match(source) and not path.parent.is_dir() and path.suffix != ".gguf":
        return source
    raise ModelError(
        "Z200",
        "no such model",
        where=str(source),
        why="it is neither a directory, nor a GGUF file, nor a hub id (org/name)",
        fix="zero2r1 models get smollm2-135m   fetches a model that needs no hub",
    )


def _name_and_options(place: str | Path) -> tuple[str, dict[str, Any]]:
    if isinstance(place, Path):
        return str(place), {"local_files_only": True}
    name, _, revision = place.partition("@")
    return name, {"revision": revision} if revision else {}


def _gguf_or_directory(place: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    return load_gguf(Path(place), dtype=dtype) if is_gguf(place) else _from_pretrained(place, dtype)


def _from_pretrained(place: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    name, options = _name_and_options(place)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
        _refuse_architecture(config, place)
        model, found = AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation=register_attention(),
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except ModelError:
        raise
    except Exception as error:
        raise _load_error(place, "model", error) from error
    absent = sorted(map(str, (*found["missing_keys"], *found["mismatched_keys"])))
    if absent:  # transformers would go on with random numbers in their place
        raise ModelError(
            "Z203",
            f"{len(absent)} of the model's weights are missing or of another shape",
            where=str(place),
            why=", ".join(absent[:4]) + (" ..." if len(absent) > 4 else ""),
            fix="config.json and *.safetensors belong to different models; fetch or save the directory again",
        )
    return model


def _refuse_architecture(config: Any, place: str | Path) -> None:
    """Refuses what our attention would compute wrongly, before any weight is read."""
    kinds = set(getattr(config, "layer_types", None) or ())
    strange = sorted(kinds - {"full_attention", "sliding_attention"})
    if strange or getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            "Z202",
            f"architecture {config.model_type!r} is not supported",
            where=str(place),
            why=f"it has layers of kind {', '.join(strange) or 'encoder'}, in which packed sequences meet",
            fix="use a decoder with plain attention: Llama, Qwen2, Qwen3, SmolLM, Mistral, Gemma 3",
        )


def _load_error(place: str | Path, what: str, error: Exception) -> ModelError:
    text = str(error)
    reason = text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
    if "trust_remote_code" in text or "custom code" in text:
        return ModelError(
            "Z204", f"the {what} wants to run code of its own", where=str(place), why=reason,
            fix="use an architecture that transformers itself knows; foreign code is never run",
        )  # fmt: skip
    if isinstance(place, str):
        return ModelError(
            "Z200", f"the {what} could not be had from the hub", where=place, why=reason,
            fix="name a local directory, or: zero2r1 models get smollm2-135m   (needs no hub)",
        )  # fmt: skip
    if isinstance(error, OSError) and ("does not appear to have" in text or "no file named" in text):
        return ModelError(
            "Z200", f"the directory's {what} is incomplete", where=str(place), why=reason,
            fix="a model directory has config.json, *.safetensors and tokenizer.json; pickled weights are not read",
        )  # fmt: skip
    return ModelError(
        "Z203", f"the {what} cannot be read", where=str(place), why=f"{type(error).__name__}: {reason}",
        fix="fetch or save the directory again",
    )  # fmt: skip
