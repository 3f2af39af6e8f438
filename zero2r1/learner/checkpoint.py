"""Checkpoints: everything a stage needs to go on as if it had never stopped, whole or absent.

    step_000010/  hf/ (model and tokenizer, a Hugging Face directory)  optim.safetensors  reference.safetensors
                  state.json  MANIFEST.json (sha256 of every file, written last)

A learner of adapters (`learner.lora`) writes `adapter/` (peft's own format) in place of `hf/`, and `state.json` has the
hash of the base they belong to: the base itself is wherever the run took it from, and it is checked, not kept.

Promise: on the same machine, with the same torch version, thread count, device and data type, train n + save + load in
fresh objects + train m is bit-equal to train n + m. When one of them differs the run goes on, and an event says so.

A checkpoint is used only when every file has its sha256. A damaged one is passed over, loudly, for the one before it;
when none is usable the run stops rather than silently starting anew. Older ones are removed only after the newest was
committed and read back, so the last good one is never lost. Weights or state with a NaN are never written.

What it does not do: write in the background, or shard over several processes.
"""

import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from zero2r1.core.atomic import commit_directory, remove_directory, verify_directory
from zero2r1.core.errors import RunError
from zero2r1.learner.learner import Learner, trained_parameters
from zero2r1.models.device import gpu_name
from zero2r1.models.load import load_model, save_model
from zero2r1.models.lora import load_adapter, save_adapter

PREFIX = "step_"
SCHEMA_VERSION = 1

Report = Callable[..., object]
"""Called as report(kind, **fields): `events.append` of a run folder fits."""


class Loaded(NamedTuple):
    """What a checkpoint held besides what went into the learner."""

    step: int
    state: dict[str, Any]
    """As given to `save_checkpoint`."""
    reference: dict[str, Tensor] | None


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    learner: Learner,
    tokenizer: PreTrainedTokenizerBase,
    reference: Mapping[str, Tensor] | None,
    state: Mapping[str, Any],
    keep: int,
    before_rename: Callable[[], None] | None = None,
) -> Path:
    """Commits `folder/step_<step>` and then removes all but the newest `keep` checkpoints.

    Args:
        state: JSON of the caller's own (cursor, counters); it comes back equal from `load_latest`.
        before_rename: called just before the commit; tests crash here.

    Raises:
        RunError: non-finite weights or state (Z409), not enough space (Z406), or the checkpoint could not be read back
            (Z403; the older ones are still there).
    """
    if keep < 1:
        raise ValueError(f"at least one checkpoint is kept, got keep={keep}")
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    final = folder / f"{PREFIX}{step:06d}"
    if final.exists() and _damage(final) is None:
        return final  # a resumed run came here again; what stands there is whole
    tensors = learner.optimizer.state_tensors()
    _refuse_nonfinite(learner, tensors, step)
    _refuse_full_disk(folder, _size(learner, tensors, reference))
    temporary = folder / f".{final.name}.tmp"
    try:
        if learner.base_hash is None:
            save_model(learner.model, tokenizer, temporary / "hf")
        else:
            save_adapter(learner.model, temporary / "adapter")
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary / "optim.safetensors")
        if reference is not None:
            kept = {name: value.contiguous() for name, value in reference.items()}
            save_file(kept, temporary / "reference.safetensors")
        (temporary / "state.json").write_text(json.dumps(_state(learner, step, state), indent=2, sort_keys=True))
        if final.exists():
            remove_directory(final)
        commit_directory(temporary, final, before_rename=before_rename)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(
            "Z406",
            "the checkpoint could not be written",
            where=str(final),
            why=str(error),
            fix="free some space and run the same command again: it goes on from the checkpoint before this one",
        ) from error
    verify_directory(final)
    _retain(folder, step, keep)
    return final


def load_latest(folder: Path, learner: Learner, *, report: Report | None = None) -> Loaded | None:
    """Puts the newest usable checkpoint into the learner. None when the folder has no checkpoint at all.

    Args:
        report: told of every damaged checkpoint passed over (`Z323`) and of a changed machine (`Z321`); warnings
            of Python's kind when it is None.

    Raises:
        RunError: checkpoints exist and each is damaged (Z404), or the checkpoint is of another model (Z405).
    """
    tell = report or _warn
    candidates = _steps(folder)
    for candidate in candidates:
        reason = _damage(candidate)
        if reason is None:
            return _load(candidate, learner, tell)
        tell("checkpoint_damaged", code="Z323", checkpoint=candidate.name, reason=reason)
    if candidates:
        raise RunError(
            "Z404",
            f"none of {len(candidates)} checkpoints is usable",
            where=str(folder),
            why="starting anew in silence would hide that work was lost",
            fix="restore one of them, or remove the folder to start this stage anew",
        )
    return None


def refuse_small_disk(folder: Path, learner: Learner, *, has_reference: bool) -> None:
    """To be called before a stage starts: RunError (Z406) with less free space than two checkpoints need."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = trained_parameters(learner.model).values()
    model = sum(_bytes(parameter) for parameter in trained)
    moments = sum(8 * parameter.numel() for parameter in trained)
    masters = 0 if _dtype(learner) == "float32" else moments // 2
    _refuse_full_disk(folder, 2 * (model * (2 if has_reference else 1) + moments + masters))


def _load(checkpoint: Path, learner: Learner, tell: Report) -> Loaded:
    content = json.loads((checkpoint / "state.json").read_text())
    own = content["learner"]
    _load_weights(checkpoint, learner, own)
    try:
        learner.optimizer.load_state_tensors(load_file(checkpoint / "optim.safetensors"))
    except ValueError as error:
        raise RunError("Z405", "the optimizer state does not fit", where=str(checkpoint), why=str(error)) from error
    learner.attempts, learner.version = own["attempts"], own["version"]
    learner.nonfinite_in_a_row = own["nonfinite_in_a_row"]
    changed = {
        key: [value, _machine(learner)[key]] for key, value in own["machine"].items() if _machine(learner)[key] != value
    }
    if changed:
        tell("machine_changed", code="Z321", checkpoint=checkpoint.name, changed=changed)
    frozen = checkpoint / "reference.safetensors"
    kept = load_file(frozen) if frozen.exists() else None
    reference = kept and {name: value.to(learner.model.device) for name, value in kept.items()}
    return Loaded(step=content["step"], state=content["state"], reference=reference)


def _load_weights(checkpoint: Path, learner: Learner, own: Mapping[str, Any]) -> None:
    """The parameters, or the adapters alone. RunError (Z405) where they are not of this model."""
    base = own.get("base")
    if base != learner.base_hash:
        texts = [f"adapters on base {each}" if each else "all weights" for each in (base, learner.base_hash)]
        raise _other_model(checkpoint, f"it holds {texts[0]}; this run trains {texts[1]}")
    if base is not None:
        try:
            load_adapter(learner.model, checkpoint / "adapter")
        except ValueError as error:
            raise _other_model(checkpoint, str(error)) from error
        return
    saved = load_model(checkpoint / "hf", dtype=_dtype(learner))
    stored = dict(saved.named_parameters())
    parameters = trained_parameters(learner.model)
    if {name: value.shape for name, value in stored.items()} != {name: p.shape for name, p in parameters.items()}:
        raise _other_model(checkpoint, "its parameters have other names or shapes")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])


def _other_model(checkpoint: Path, why: str) -> RunError:
    return RunError(
        "Z405", "the checkpoint is of another model", where=str(checkpoint), why=why,
        fix="use another run folder, or the model and learner.lora this run was started with",
    )  # fmt: skip


def _state(learner: Learner, step: int, state: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        "attempts": learner.attempts,
        "version": learner.version,
        "nonfinite_in_a_row": learner.nonfinite_in_a_row,
        "machine": _machine(learner),
        "base": learner.base_hash,
    }
    return {"schema_version": SCHEMA_VERSION, "step": step, "learner": own, "state": dict(state)}


def _machine(learner: Learner) -> dict[str, Any]:
    """What must be equal for bit-equal resumption."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": gpu_name() if learner.model.device.type == "cuda" else learner.model.device.type,
        "dtype": _dtype(learner),
    }


def _dtype(learner: Learner) -> str:
    return str(learner.model.dtype).removeprefix("torch.")


def _retain(folder: Path, step: int, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints up to `step`, which was just read back.

    Those of a later step were passed over as damaged when this run was resumed: they must not count as kept.
    """
    known = _steps(folder)
    later = [path for path in known if _number(path) > step]
    for path in [*known[len(later) + keep :], *(path for path in later if _damage(path) is not None)]:
        remove_directory(path)


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def _steps(folder: Path) -> list[Path]:
    """Checkpoint directories, newest step first."""
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.iterdir() if path.is_dir() and path.name.removeprefix(PREFIX).isdigit()]
    return sorted(numbered, key=_number, reverse=True)


def _damage(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used; None when it is whole."""
    try:
        verify_directory(checkpoint)
        step = json.loads((checkpoint / "state.json").read_text())["step"]
    except (RunError, OSError, ValueError, KeyError, TypeError) as error:
        return str(error)
    if f"{PREFIX}{step:06d}" != checkpoint.name:
        return f"its state is of step {step}: the directory was renamed or its files were exchanged"
    return None


def _remove_leftovers(folder: Path) -> None:
    """Directories of a write or a removal that a crash cut short."""
    for path in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _refuse_nonfinite(learner: Learner, tensors: Mapping[str, Tensor], step: int) -> None:
    named: Iterable[tuple[str, Tensor]] = [*trained_parameters(learner.model).items(), *tensors.items()]
    bad = [name for name, value in named if not bool(torch.isfinite(value).all())]
    if bad:
        raise RunError(
            "Z409",
            f"NaN or infinity in {len(bad)} tensors, first {bad[0]!r}",
            where=f"checkpoint of step {step}",
            why="a checkpoint of broken weights would push the good ones out",
            fix="resume from the last checkpoint with a lower learner.lr",
        )


def _size(learner: Learner, tensors: Mapping[str, Tensor], reference: Mapping[str, Tensor] | None) -> int:
    held = [*trained_parameters(learner.model).values(), *tensors.values(), *(reference or {}).values()]
    return sum(_bytes(tensor) for tensor in held)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            "Z406", f"{math.ceil(needed / 2**20)} MiB are needed for checkpoints, {free // 2**20} MiB are free",
            where=str(folder), fix="free some space, or move the run folder to another disk",
        )  # fmt: skip


def _warn(kind: str, **fields: object) -> None:
    warnings.warn(f"{kind}: " + ", ".join(f"{name}={value}" for name, value in fields.items()), stacklevel=3)
