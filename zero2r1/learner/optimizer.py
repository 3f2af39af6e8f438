"""AdamW over float32 master weights, beside the model or in host memory.

A float32 model is its own master, unless `offload` keeps the masters apart. For bfloat16 the parameters are copied here
as they came and then rounded. Gradients of the micro-batches are summed in float32 on the model's device, the update
happens where the masters are, and the model receives it rounded. So neither small updates nor the sum over
micro-batches are lost to rounding.

With `offload: cpu` masters and moments live in host memory and the step runs there. Gradients and new weights travel
once an update, through pinned memory where there is CUDA. On a machine without an accelerator it changes no number.

What it does not do: decide whether an update is sound (`learner.py` does), or schedule the learning rate.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zero2r1.learner.config import LearnerConfig

MASTER = "master."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHUNK = 2**18
"""Ours: entries that are widened to float32 at a time: 1 MiB, so they are added out of the processor's cache."""


class Optimizer:
    """AdamW with named state, for a module whose parameters may be of lower precision than its state.

    Only parameters that want a gradient when it is made are trained; all are brought to the data type of the config.
    """

    def __init__(self, model: nn.Module, config: LearnerConfig) -> None:
        # Shared parameters (tied embeddings) appear once, under their first name.
        named = dict(model.named_parameters())
        self._parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        dtype = DTYPES[config.compute_dtype]
        is_offloaded = config.offload == "cpu"
        is_own_master = dtype == torch.float32 and not is_offloaded
        self._masters = {
            name: parameter if is_own_master else _master(parameter, is_offloaded=is_offloaded)
            for name, parameter in self._parameters.items()
        }
        for parameter in named.values():
            # Parameters only: buffers such as the rotary frequencies are never rounded.
            parameter.data = parameter.data.to(dtype)
        self._lower = [] if dtype == torch.float32 else list(self._parameters)
        """Names of the parameters that are of lower precision than their masters."""
        self._apart = [] if is_own_master else list(self._parameters)
        """Names of the parameters whose masters are tensors of their own."""
        self._sums: dict[str, Tensor] = {}
        """By name of lower precision: the gradient so far, in float32 on the model's device."""
        self._transfer = _Transfer() if is_offloaded else None
        matrices = [master for master in self._masters.values() if master.dim() >= 2]
        vectors = [master for master in self._masters.values() if master.dim() < 2]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            fused=True,
        )

    def clear(self) -> None:
        """Forgets all gradients."""
        self._sums.clear()
        for parameter in (*self._parameters.values(), *self._masters.values()):
            parameter.grad = None

    def collect(self) -> None:
        """Adds the gradients of one backward pass up, in float32. Nothing to do for a float32 model: autograd does."""
        for name in self._lower:
            parameter = self._parameters[name]
            if parameter.grad is None:
                continue
            if name in self._sums:
                add_widened(self._sums[name], parameter.grad)
            else:
                self._sums[name] = parameter.grad.to(torch.float32)
            parameter.grad = None

    def grad_norm(self) -> Tensor:
        """Euclidean norm of the whole gradient; NaN or infinite when any entry is."""
        gradients = list(self._gradients().values())
        return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())

    def apply(self, *, lr: float, grad_clip: float, grad_norm: Tensor) -> None:
        """One AdamW update with the gradient scaled down to a norm of at most `grad_clip` (0: never)."""
        gradients = self._gradients()
        factor = clip_factor(grad_norm, grad_clip)
        if factor < 1.0:
            for gradient in gradients.values():
                gradient.mul_(factor)
        if self._transfer is not None:
            gradients = self._transfer.to_host(gradients)
        for name in self._apart:
            self._masters[name].grad = gradients.get(name)
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        with torch.no_grad():
            for name in self._apart:
                if self._transfer is None:
                    self._parameters[name].copy_(self._masters[name])
                else:
                    self._transfer.to_device(name, self._masters[name], self._parameters[name])

    def state_tensors(self) -> dict[str, Tensor]:
        """All state by name: `<slot>.<parameter>` for AdamW's slots, `master.<parameter>` for master copies.

        The master of a float32 parameter is equal to it and left out: a state does not tell whether it was offloaded.
        """
        tensors = {MASTER + name: self._masters[name].detach() for name in self._lower}
        for name, master in self._masters.items():
            for slot, value in self._adamw.state.get(master, {}).items():
                tensors[f"{slot}.{name}"] = value
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `state_tensors` gave, exactly. The model has its parameters of that moment already.

        Raises:
            ValueError: a name that fits no parameter, a missing master copy, or another shape.
        """
        slots: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            slot, _, name = key.partition(".")
            if name not in self._masters or value.shape not in (self._masters[name].shape, torch.Size([])):
                raise ValueError(f"the optimizer state {key!r} fits no parameter of this model")
            slots.setdefault(name, {})[slot] = value
        missing = [name for name in self._lower if "master" not in slots.get(name, {})]
        if missing:
            raise ValueError(f"no float32 master weights for {missing[:3]}: the checkpoint is of a float32 model")
        self._adamw.state.clear()
        with torch.no_grad():
            for name in self._apart:
                self._masters[name].copy_(slots.get(name, {}).pop("master", self._parameters[name]))
            for name, state in slots.items():
                master = self._masters[name]
                # AdamW's step counters and moments live beside their parameter (fused).
                self._adamw.state[master] = {slot: value.clone().to(master.device) for slot, value in state.items()}

    def _gradients(self) -> dict[str, Tensor]:
        """By name, in float32 on the model's device: the gradient so far of each parameter that has one."""
        if self._lower:
            return self._sums
        return {name: each.grad for name, each in self._parameters.items() if each.grad is not None}


class _Transfer:
    """Gradients to the host and weights back, through buffers that stay.

    A buffer that is pinned (with CUDA) lets copies run while others are queued. `to_host` waits for all of them, so a
    buffer is never written to before the device has read it.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def to_host(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same numbers in host memory."""
        copies = {
            name: self._buffer(name, gradient).copy_(gradient, non_blocking=True)
            for name, gradient in gradients.items()
        }
        if any(gradient.is_cuda for gradient in gradients.values()):
            torch.cuda.synchronize()
        return copies

    def to_device(self, name: str, master: Tensor, parameter: Tensor) -> None:
        """Puts a master into its parameter, rounded on the host so that fewer bytes travel."""
        rounded = master if master.dtype == parameter.dtype else self._buffer(name, parameter).copy_(master)
        parameter.copy_(rounded, non_blocking=True)

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        place = name, like.dtype
        if place not in self._buffers:
            self._buffers[place] = torch.empty(like.shape, dtype=like.dtype, device="cpu", pin_memory=like.is_cuda)
        return self._buffers[place]


def clip_factor(norm: Tensor, limit: float | int) -> float:
    """What a gradient of this norm is multiplied with so that its norm is at most about `limit`; 1.0 when limit is 0.

    factor = min(1, limit / (norm + 1e-6))

    Source: Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks", section 3.2.
    Ours: the 1e-6 and float32 arithmetic, as torch.nn.utils.clip_grad_norm_ has them.
    """
    return float((limit / (norm + 1e-6)).clamp(max=1.0)) if limit > 0 else 1.0


def add_widened(total: Tensor, gradient: Tensor) -> None:
    """total += gradient, the sum in float32, without a float32 copy of the whole gradient.

    Args:
        total: float32, contiguous, of the shape of `gradient`; changed in place.
        gradient: of lower precision.

    Ours: torch adds mixed types on a CPU by making that copy, which is new memory each time; on a GPU it makes none.
    """
    if total.device.type != "cpu" or not gradient.is_contiguous():
        total.add_(gradient)
        return
    scratch = torch.empty(min(CHUNK, total.numel()))
    for part, new in zip(total.view(-1).split(CHUNK), gradient.view(-1).split(CHUNK), strict=True):
        part.add_(scratch[: len(part)].copy_(new))


def _master(parameter: Tensor, *, is_offloaded: bool) -> nn.Parameter:
    """A float32 copy: beside the parameter, or in host memory (pinned when the parameter is on a GPU)."""
    copy = parameter.detach().to("cpu" if is_offloaded else parameter.device, torch.float32, copy=True)
    return nn.Parameter(copy.pin_memory() if is_offloaded and parameter.is_cuda else copy)
