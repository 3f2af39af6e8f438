"""AdamW over float32 master weights.

A float32 model is its own master. For bfloat16 the parameters are copied here as they came and then rounded. Gradients
of the micro-batches are summed into the copy, the update happens there, and the model receives it rounded. So neither
small updates nor the sum over micro-batches are lost to rounding.

What it does not do: decide whether an update is sound (`learner.py` does), or schedule the learning rate.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zero2r1.learner.config import LearnerConfig

MASTER = "master."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Optimizer:
    """AdamW with named state, for a module whose parameters may be of lower precision than its state."""

    def __init__(self, model: nn.Module, config: LearnerConfig) -> None:
        self._parameters = dict(model.named_parameters())
        """Shared parameters (tied embeddings) appear once, under their first name."""
        is_own_master = config.compute_dtype == "float32"
        self._masters = {
            name: parameter if is_own_master else nn.Parameter(parameter.detach().to(torch.float32).clone())
            for name, parameter in self._parameters.items()
        }
        for parameter in self._parameters.values():
            # Parameters only: buffers such as the rotary frequencies are never rounded.
            parameter.data = parameter.data.to(DTYPES[config.compute_dtype])
        self._lower = [] if is_own_master else list(self._parameters)
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
        for parameter in (*self._parameters.values(), *self._masters.values()):
            parameter.grad = None

    def collect(self) -> None:
        """Moves the gradients of one backward pass to the masters, in float32. Nothing to do for a float32 model."""
        for name in self._lower:
            parameter, master = self._parameters[name], self._masters[name]
            if parameter.grad is None:
                continue
            gradient = parameter.grad.to(torch.float32)
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

    def grad_norm(self) -> Tensor:
        """Euclidean norm of the whole gradient; NaN or infinite when any entry is."""
        gradients = [master.grad for master in self._masters.values() if master.grad is not None]
        return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())

    def apply(self, *, lr: float, grad_clip: float, grad_norm: Tensor) -> None:
        """One AdamW update with the gradient scaled down to a norm of at most `grad_clip` (0: never)."""
        masters = list(self._masters.values())
        if grad_clip > 0:
            torch.nn.utils.clip_grads_with_norm_(masters, grad_clip, grad_norm)
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        with torch.no_grad():
            for name in self._lower:
                self._parameters[name].copy_(self._masters[name])

    def state_tensors(self) -> dict[str, Tensor]:
        """All state by name: `<slot>.<parameter>` for AdamW's slots, `master.<parameter>` for master copies."""
        tensors = {MASTER + name: self._masters[name].detach() for name in self._lower}
        for name, master in self._masters.items():
            for slot, value in self._adamw.state.get(master, {}).items():
                tensors[f"{slot}.{name}"] = value
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `state_tensors` gave, exactly.

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
            for name, state in slots.items():
                master = self._masters[name]
                if "master" in state:
                    master.copy_(state.pop("master"))
                self._adamw.state[master] = {
                    slot: value.clone().to(_place(value, master)) for slot, value in state.items()
                }


def _place(value: Tensor, master: Tensor) -> torch.device:
    """AdamW's step counters and moments live beside their parameter (fused)."""
    return master.device
