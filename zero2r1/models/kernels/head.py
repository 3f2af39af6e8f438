"""The compiled functions between hidden states and tokens: logits, their log-probabilities and gradients, a choice.

Tensors are as in `ops`. Each row's result depends on neither its neighbours nor the number of threads.

What it does not do: caps on logits (`models.head.Head` applies them).
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from zero2r1.models.kernels.arguments import COUNT, REAL, TENSOR, THREADS, at, check, typed
from zero2r1.models.kernels.products import ProductKernels

BLOCK = 128
"""Numbers of a row that are summed in float32 before their sum joins others, as in logits.h."""


class HeadKernels:
    """Part of the loaded library."""

    def __init__(self, library: ctypes.CDLL, products: ProductKernels) -> None:
        self.products = products
        shapes: dict[str, Sequence[Any]] = {
            "draw": [TENSOR] * 3 + [COUNT, TENSOR, REAL] + [COUNT] * 2 + [TENSOR, THREADS],
            "read_logits": [TENSOR] * 6 + [REAL] + [COUNT] * 2 + [THREADS],
        }
        self._functions = typed(library, shapes)

    def read_logits(
        self,
        logits: Float32[Tensor, "n V"],
        targets: Int64[Tensor, " n"],
        slope: Float[Tensor, "n V"] | None = None,
        *,
        inverse: float,
    ) -> tuple[Float32[Tensor, " n"], Float32[Tensor, " n"], Float32[Tensor, " n"]]:
        """Log-probability of each target, entropy, and log sum_v exp z_v of z = logits * inverse, in nats.

        A word without a chance (a logit of -infinity) counts 0 in the entropy.

        Args:
            inverse: 1 / temperature.
            slope: takes softmax(z) - onehot(target), in its dtype; it may be the logits themselves.
        """
        check(logits, targets, *([] if slope is None else [slope]))
        assert logits.dtype == torch.float32
        assert slope is None or slope.shape == logits.shape
        rows, vocabulary = logits.shape
        logprobs, entropy, normaliser = torch.empty(3, rows)
        self._functions["read_logits", torch.float32 if slope is None else slope.dtype](
            at(logprobs), at(entropy), at(normaliser), at(slope), at(logits), at(targets), inverse,
            rows, vocabulary, max(1, min(rows, torch.get_num_threads())),
        )  # fmt: skip
        return logprobs, entropy, normaliser

    def draw(
        self, logits: Float[Tensor, "n V"], uniforms: Float64[Tensor, " n"], *, temperature: float
    ) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
        """One token a row and its log-probability in nats; see `policy.sampler.draw`. NaN marks unsound logits.

        Args:
            logits: before the division by the temperature, which is positive.
            uniforms: in [0, 1).
        """
        check(logits, uniforms)
        rows, vocabulary = logits.shape
        tokens, logprobs = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        scratch = torch.empty(rows, -(-vocabulary // BLOCK))
        run = self._functions["draw", logits.dtype]
        run(
            at(tokens), at(logprobs), at(logits), logits.stride(0), at(uniforms), 1.0 / temperature,
            rows, vocabulary, at(scratch), min(rows, torch.get_num_threads()),
        )  # fmt: skip
        return tokens, logprobs
