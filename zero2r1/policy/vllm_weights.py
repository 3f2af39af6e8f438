"""What weights does a vLLM network really hold? Reading them back, un-fused, under the learner's names.

vLLM fuses projections (query, key and value into one matrix) and, on a CPU, packs matrices for its kernels and throws
the plain form away. So a packed matrix is read by asking the kernel itself: applied to the identity it returns the
matrix, exactly, since each sum has one term that is not 0.

What it does not do: quantised weights, and matrices split over several workers.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zero2r1.core.errors import ModelError
from zero2r1.models.lora import merged_state

PROBE_ROWS = 1024
"""Ours: rows of the identity that a kernel is applied to at once."""


def learner_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every weight of the learner by its name in a checkpoint, adapters merged; shared tensors under each name."""
    return {name: tensor.detach() for name, tensor in merged_state(model).items() if tensor.is_floating_point()}


def without_aliases(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """(name, weight in `dtype`), one at a time; a shared tensor once, under its first name."""
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in tensors.items():
        identity = (tensor.data_ptr(), tensor.shape)
        if not tensor.numel() or identity not in seen:
            seen.add(identity)
            yield name, tensor.to(dtype)


def canonical(tensor: Float[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    """The tensor in `dtype` on the CPU, with 0 in place of -0 and of numbers too small for a normal mantissa.

    Ours: a matrix read back through a kernel has lost the sign of its zeros (-0 + 0 = 0), and matrix units may treat
    subnormal numbers as 0. Both sides of a comparison go through here.
    """
    plain = tensor.detach().to("cpu", dtype)
    return torch.where(plain.abs() < torch.finfo(dtype).tiny, torch.zeros_like(plain), plain)


def digest(name: str, tensor: Float[Tensor, "..."]) -> str:
    """sha256 over name, dtype, shape and bytes of a canonical tensor, 64 hex digits."""
    content = hashlib.sha256(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    content.update(memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy()))
    return content.hexdigest()


def digest_of(digests: Mapping[str, str]) -> str:
    """One sha256 over the digests of all tensors, names sorted; 16 hex digits."""
    lines = "\n".join(f"{name} {value}" for name, value in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def differing(network: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> tuple[list[str], str]:
    """The learner's tensors that the network does not hold, names sorted, and `digest_of` what it holds.

    Args:
        network: vLLM's.
        tensors: the learner's, by checkpoint name.
        dtype: of the network; the learner's tensors are rounded to it first.

    Raises:
        ModelError: the network has no place for one of the names (Z202).
    """
    held: dict[str, str] = {}
    wrong: set[str] = set()
    for name, reading in readings(network, tensors, dtype):
        found, wanted = canonical(reading, dtype), canonical(tensors[name], dtype)
        is_same = torch.equal(found, wanted)  # never true with NaN
        if not is_same:
            wrong.add(name)
        # Of a matrix that is held twice, packed and plain, one wrong copy is enough to change the hash.
        if name not in held or not is_same:
            held[name] = digest(name, found)
    return sorted(wrong), digest_of(held)


def readings(
    network: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype
) -> Iterator[tuple[str, Float[Tensor, "..."]]]:
    """(name, what the network holds under it): at least one reading a name, two where it holds a packed copy, too."""
    modules = dict(network.named_modules(remove_duplicate=False))
    places: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name in tensors:
        path, kind, first_row = _place(name, modules, network, tensors)
        places.setdefault((path, kind), []).append((name, first_row))
    for (path, kind), parts in places.items():
        columns = tensors[parts[0][0]].shape[-1]
        for whole in _held(modules[path], kind, columns, dtype):
            for name, first_row in parts:
                size = tensors[name].shape[0]  # vLLM pads vocabularies: what lies beyond is never drawn
                yield name, whole[first_row : first_row + size]


def kernel_weight(module: Any, columns: int, dtype: torch.dtype) -> Float[Tensor, "out in"]:
    """[out, columns] the matrix that a module's packed kernel multiplies with: W = (I W^T)^T.

    Source: Ours: each product with the identity has one term that is not 0, so no rounding takes place.
    """
    pieces = []
    with torch.inference_mode():
        for start in range(0, columns, PROBE_ROWS):
            rows = min(PROBE_ROWS, columns - start)
            identity = torch.zeros(rows, columns, dtype=dtype)
            identity[torch.arange(rows), torch.arange(start, start + rows)] = 1.0
            pieces.append(module.cpu_linear(identity, module.weight, None).t())
    return torch.cat(pieces, dim=1)


def pack_again(network: nn.Module) -> None:
    """Makes the packed copies of matrices that are kept in plain form, too, anew from the plain form.

    Ours: vLLM 0.32 reloads a tied embedding and leaves the output head's packed copy of it as it was.
    """
    for module in network.modules():
        method = getattr(module, "quant_method", None)
        if hasattr(module, "cpu_linear") and method is not None and _plain(module, "weight") is not None:
            method.process_weights_after_loading(module)


def _held(module: nn.Module, kind: str, columns: int, dtype: torch.dtype) -> Iterator[Tensor]:
    if kind == "weight" and hasattr(module, "cpu_linear"):
        yield kernel_weight(module, columns, dtype)
    plain = _plain(module, kind)
    if plain is not None:
        yield plain


def _plain(module: nn.Module, kind: str) -> Tensor | None:
    """A parameter or buffer as it lies in memory; None where only a packed copy is left."""
    found = getattr(module, kind, None)
    return found.detach() if isinstance(found, Tensor) and found.numel() else None


def _place(
    name: str, modules: Mapping[str, nn.Module], network: nn.Module, tensors: Mapping[str, Tensor]
) -> tuple[str, str, int]:
    """Where a tensor lies: path of the module, kind (`weight`, `bias`), first row inside a fused matrix."""
    path, _, kind = name.rpartition(".")
    if _has(modules.get(path), kind):
        return path, kind, 0
    parent, _, leaf = path.rpartition(".")
    fusions: Mapping[str, Sequence[str]] = getattr(network, "packed_modules_mapping", None) or {}
    for fused, parts in fusions.items():
        owner = f"{parent}.{fused}" if parent else fused
        if leaf in parts and _has(modules.get(owner), kind):
            before = parts[: list(parts).index(leaf)]
            return owner, kind, sum(tensors[f"{parent}.{part}.{kind}"].shape[0] for part in before)
    raise ModelError(
        "Z202",
        f"vLLM's network has no place for {name!r}",
        where=type(network).__name__,
        why="so it cannot be told whether the sampler's weights are the learner's",
        fix="use the built-in engine for this architecture: sampler.backend=engine",
    )


def _has(module: nn.Module | None, kind: str) -> bool:
    return module is not None and (getattr(module, kind, None) is not None or kind in module._parameters)
