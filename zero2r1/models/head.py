"""The second half of a forward pass: hidden states to logits.

What it does not do: no vocabulary split over devices, no loss (see `logprobs`).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from zero2r1.core.errors import ModelError
from zero2r1.models.kernels.products import Packed
from zero2r1.models.kernels.protocol import AnyHead
from zero2r1.models.precision import bfloat16_factors


@dataclass(frozen=True, slots=True)
class Head:
    """The map from hidden states to logits: softcap(scale * (hidden weight^T + bias)).

    softcap(z) = c * tanh(z / c), the identity when there is no cap.
    """

    weight: Float[Tensor, "V E"]
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    """Factor on the logits (Cohere's logit_scale, the inverse of Granite's logits_scaling)."""
    softcap: float | None = None
    """c of Gemma's final_logit_softcapping, in logits."""
    kernels: AnyHead | None = None
    """Of the weight's device, where there are any."""
    packed: Packed | None = None
    """The weight once more as `kernels` read it: see `laid_out`."""

    def laid_out(self, dtype: torch.dtype) -> "Head":
        """The same head, ready for many products with hidden states of this dtype.

        The weight is copied where the product reads it quicker in another form, so an update is not seen.
        """
        weight = self.weight.detach().to(dtype)
        if self.kernels is not None and self.kernels.products.takes(weight):
            return replace(self, packed=self.kernels.products.pack(weight))
        is_widened = self._is_wide(dtype) and weight.device.type == "cpu"
        return replace(self, weight=weight.float() if is_widened else weight)

    def logits(self, hidden: Float[Tensor, "N E"], out: Float[Tensor, "N V"] | None = None) -> Float[Tensor, "N V"]:
        """Logits in float32, or in float64 for float64 `hidden`. The factors of the matrix product have its dtype.

        On a CPU, and on a GPU of NVIDIA's where no gradient is asked for (torch has none), the product of bfloat16
        numbers is not rounded to bfloat16: a logit of 20 would be off by up to 1/16,
        a good part of what a sampler and a learner in bfloat16 disagree about (docs/log.md).

        `out` takes them, in their dtype and without a gradient; asking the system for memory of this size again and
        again costs a third of the time.
        """
        return self._scaled(self.products(hidden, out), out)

    def products(self, hidden: Float[Tensor, "N E"], out: Float[Tensor, "N V"] | None = None) -> Float[Tensor, "N V"]:
        """hidden weight^T + bias, as in `logits` without factor and cap."""
        if self.packed is not None and self.kernels is not None:
            logits = hidden.new_empty(len(hidden), self.packed.outputs, dtype=torch.float32) if out is None else out
            self.kernels.products.product(hidden.contiguous(), self.packed, out=logits)
            return logits if self.bias is None else logits.add_(self.bias)
        if not self._is_wide(hidden.dtype):
            return self._product(hidden, out)
        if hidden.device.type == "cuda":
            return self._wide_product(hidden, out)
        with bfloat16_factors():
            return self._product(hidden.float(), out)

    def _is_wide(self, dtype: torch.dtype) -> bool:
        """Whether logits are more exact numbers than hidden states of this dtype."""
        return is_wide(dtype, self.weight.device)

    def _product(self, hidden: Tensor, out: Tensor | None) -> Tensor:
        weight, bias = self.weight.to(hidden.dtype), None if self.bias is None else self.bias.to(hidden.dtype)
        if out is None:
            logits = linear(hidden, weight, bias)
            return logits.to(torch.promote_types(logits.dtype, torch.float32))
        if out.dtype != hidden.dtype:
            return out.copy_(linear(hidden, weight, bias))
        if bias is None:
            return torch.mm(hidden, weight.t(), out=out)
        return torch.addmm(bias, hidden, weight.t(), out=out)

    def _wide_product(self, hidden: Tensor, out: Tensor | None) -> Tensor:
        """bfloat16 factors, and a result in float32 as cuBLAS sums it."""
        if torch.is_grad_enabled() and (hidden.requires_grad or self.weight.requires_grad):
            return self._product(hidden, out)
        weight = self.weight.to(hidden.dtype).t()
        if out is None:
            logits = torch.mm(hidden, weight, out_dtype=torch.float32)
        else:
            logits = torch.mm(hidden, weight, out_dtype=torch.float32, out=out)
        return logits if self.bias is None else logits.add_(self.bias)

    def _scaled(self, logits: Tensor, out: Tensor | None) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale if out is None else logits.mul_(self.scale)
        if self.softcap is not None:
            if out is None:
                return torch.tanh(logits / self.softcap) * self.softcap
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


def is_wide(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `Head.logits` gives more exact numbers than hidden states of this dtype hold, without rounding first."""
    has_wide_product = device.type == "cpu" or (device.type == "cuda" and torch.version.cuda is not None)
    return dtype == torch.bfloat16 and has_wide_product


def head_of(model: PreTrainedModel, kernels: AnyHead | None = None) -> Head:
    """The head of a causal language model, with the factors its config names.

    Args:
        kernels: of the model's device.

    Raises:
        ModelError: the model has no output layer (it is not a language model).
    """
    layer = model.get_output_embeddings()
    if layer is None:
        raise ModelError(
            "Z202",
            "the model has no language-model head",
            where=type(model).__name__,
            why="only causal language models can sample and be trained here",
            fix="load a ...ForCausalLM checkpoint",
        )
    config = model.config
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        scale=scale,
        softcap=None if cap is None else float(cap),
        kernels=kernels,
    )
