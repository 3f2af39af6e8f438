"""What an update sums up over its passes.

What it does not do: decide what is summed (the loss does).
"""

from collections.abc import Mapping

import torch
from torch import Tensor


class Totals:
    """Sums over the micro-batches of one step, kept as tensors so that a GPU is asked once, at the end."""

    def __init__(self) -> None:
        self._loss: list[Tensor] = []
        self._sums: dict[str, list[Tensor]] = {}
        self._peaks: dict[str, list[Tensor]] = {}
        self._counts: dict[str, int] = {}

    def add(self, value: Tensor, metrics: Mapping[str, Tensor]) -> None:
        self._loss.append(value.detach().double())
        for name, numbers in metrics.items():
            self._sums.setdefault(name, []).append(numbers.double().sum())
            self._peaks.setdefault(name, []).append(numbers.max())
            self._counts[name] = self._counts.get(name, 0) + len(numbers)

    def figures(self) -> dict[str, float]:
        """`loss`, `tokens`, `<metric>/mean`, `<metric>/max`."""
        loss = float(torch.stack(self._loss).sum()) if self._loss else 0.0
        figures = {"loss": loss, "tokens": float(max(self._counts.values(), default=0))}
        for name, sums in self._sums.items():
            figures[f"{name}/mean"] = float(torch.stack(sums).sum()) / self._counts[name]
            figures[f"{name}/max"] = float(torch.stack(self._peaks[name]).max())
        return figures
