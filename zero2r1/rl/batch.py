"""From credited rows to a batch of tensors. The only place of reinforcement learning where masks and weights are made.

Aggregations, over the S rows of a mini-batch that are not masked, |o_i| the response tokens of row i:

    sequence_mean  weight = 1 / (S |o_i|)         mean over outputs of the mean over their tokens
    token_mean     weight = 1 / sum_i |o_i|       mean over all tokens
    constant       weight = 1 / (S * cap)         sum over tokens, divided by a constant: the length cap

A row without variance counts in S and in sum |o_i|, and without a KL term is marked as having no gradient; a masked row
does not exist here.

What it does not do: advantages (`rl/advantage.py`), and cutting into micro-batches (the learner).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from zero2r1.core.types import Credited
from zero2r1.learner.base import Batch, Row
from zero2r1.rl.config import RLConfig


def token_weights(lengths: Sequence[int], *, aggregation: str, max_new_tokens: int) -> list[float]:
    """[S] weight of each token of row i in the loss of the mini-batch, by the table at the head of this file.

    lengths [S]: response tokens of each row that is not masked, >= 1.
    Source: sequence_mean: DeepSeekMath (arXiv 2402.03300) and DeepSeek-R1's 1/G sum; token_mean: DAPO (arXiv
    2503.14476);
    constant: Dr. GRPO (arXiv 2503.20783).
    """
    if not lengths:
        return []
    if aggregation == "sequence_mean":
        return [1.0 / (len(lengths) * length) for length in lengths]
    if aggregation == "token_mean":
        return [1.0 / sum(lengths)] * len(lengths)
    return [1.0 / (len(lengths) * max_new_tokens)] * len(lengths)


def to_batch(credited: Sequence[Credited], config: RLConfig, *, max_new_tokens: int) -> Batch:
    """The batch of one update. Masked rows and empty responses are left out.

    Args:
        credited: rows of the mini-batch.
        max_new_tokens: the length cap of the rollout, for the `constant` aggregation.
    """
    kept = [row for row in credited if not row.masked and row.scored.completion.token_ids]
    lengths = [len(row.scored.completion.token_ids) for row in kept]
    weights = token_weights(lengths, aggregation=config.aggregation, max_new_tokens=max_new_tokens)
    rows = tuple(
        _row(row, weight, has_gradient=config.kl_coef > 0 or row.advantage != 0.0)
        for row, weight in zip(kept, weights, strict=True)
    )
    return Batch(rows=rows, temperature=config.temperature)


def with_streams(batch: Batch, extra: Sequence[Mapping[str, Float[Tensor, " _"]]]) -> Batch:
    """The batch with further streams over each row's whole sequence (`reference`, `old`), in nats.

    Where `old` is among them, what the sampler said of its tokens is called `sampler` from then on.
    """
    rows = []
    for row, streams in zip(batch.rows, extra, strict=True):
        kept = {"sampler": row.streams["old"]} if "old" in streams else {}
        rows.append(replace(row, streams={**row.streams, **streams, **kept}))
    return replace(batch, rows=tuple(rows))


def _row(credited: Credited, weight: float, *, has_gradient: bool) -> Row:
    completion = credited.scored.completion
    start, end = len(completion.prompt_token_ids), len(completion.prompt_token_ids) + len(completion.token_ids)
    is_response = torch.arange(end) >= start
    sampler = torch.zeros(end)
    sampler[start:] = torch.tensor(completion.logprobs)
    return Row(
        token_ids=torch.tensor((*completion.prompt_token_ids, *completion.token_ids)),
        loss_mask=is_response,
        weights=torch.where(is_response, weight, 0.0),
        streams={"advantage": torch.full((end,), float(credited.advantage)), "old": sampler},
        has_gradient=has_gradient,
    )
