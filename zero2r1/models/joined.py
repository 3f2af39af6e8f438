"""Matrices that are multiplied with the same input, one below the other in one piece of memory.

The parts stay parameters of their own: they become views of the whole, so whoever changes them changes it, and one
product reads them all without a copy. On a GPU one product is one launch instead of three, and a sampler reads the
weights that the learner has just written.

What it does not do: keep them so. Whoever gives a parameter other memory takes it out; `is_joined` sees that.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

PARTS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of projections that share their input, in every architecture of `fused.FAMILIES`."""


def join(model: nn.Module) -> None:
    """Puts the weights, and the biases, of such projections into one piece of memory each; again without harm."""
    for parameters in _families(model):
        if not is_joined(parameters):
            together = torch.cat([parameter.detach() for parameter in parameters])
            for parameter, part in zip(parameters, together.split([len(one) for one in parameters]), strict=True):
                parameter.data = part


def are_joined(model: nn.Module) -> bool:
    """Whether all such projections of the model lie so."""
    return all(map(is_joined, _families(model)))


def is_joined(parts: Sequence[Tensor]) -> bool:
    """Whether each part begins where the one before it ends. Parts are alike but for their first dimension."""
    ends = [part.data_ptr() + part.numel() * part.element_size() for part in parts]
    follow = all(end == part.data_ptr() for end, part in zip(ends, parts[1:], strict=False))
    base = parts[0].untyped_storage().data_ptr()
    return follow and all(part.is_contiguous() and part.untyped_storage().data_ptr() == base for part in parts)


def whole(parts: Sequence[Tensor]) -> Tensor:
    """The parts one below the other: the memory itself where they are joined, else a copy."""
    if not is_joined(parts):
        return torch.cat(list(parts))
    first = parts[0].detach()
    shape = (sum(len(part) for part in parts), *first.shape[1:])
    return first.as_strided(shape, first.stride())


def _families(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    for module in model.modules():
        for names in PARTS:
            layers = [getattr(module, name, None) for name in names]
            for kind in ("weight", "bias"):
                found = [getattr(layer, kind, None) for layer in layers]
                parameters = [one for one in found if isinstance(one, nn.Parameter)]
                if len(parameters) == len(names):
                    yield parameters
