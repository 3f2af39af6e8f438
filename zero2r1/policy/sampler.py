"""From logits to the next token: one uniform number a token, turned into a token by the inverse distribution function.

    p_v = exp(z_v / temperature) / sum_w exp(z_w / temperature)
    token = the first v with p_0 + ... + p_v > u

The recorded log-probability is that of the full distribution at the sampling temperature, before top_k and top_p: it
is the number the learner recomputes. A greedy token (temperature 0) is recorded at temperature 1.

What it does not do: repetition or presence penalties, and beams. It draws no random numbers itself: `uniforms` come
from `core.random`. All arithmetic is row by row, so no row depends on its neighbours.
"""

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor
from torch.nn.functional import pad

from zero2r1.policy.base import Sampling

BLOCK = 128
"""Ours: entries that are summed in one go before the blocks are summed up one after another."""

CANDIDATES = 512
"""Ours: a nucleus (top_p) is first looked for among this many likeliest tokens, which spares sorting the vocabulary."""


def next_tokens(
    logits: Float32[Tensor, "B V"], uniforms: Float64[Tensor, " B"], sampling: Sampling
) -> tuple[Int64[Tensor, " B"], Float32[Tensor, " B"]]:
    """One token for each row and its log-probability in nats.

    Args:
        logits: as the model gives them, not yet divided by the temperature.
        uniforms: in [0, 1), one for each row; a greedy choice ignores them.

    A row with NaN or without a finite maximum gets an arbitrary token and a log-probability that is not finite.
    """
    is_greedy = sampling.temperature == 0.0
    scaled = logits if is_greedy or sampling.temperature == 1.0 else logits / sampling.temperature
    peak = scaled.amax(-1, keepdim=True)
    odds = (scaled - peak).exp()
    log_total = odds.sum(-1).log() + peak[:, 0]
    if is_greedy:
        tokens = scaled.argmax(-1)
    else:
        if sampling.top_k or sampling.top_p < 1.0:
            odds = odds.masked_fill(~kept(scaled, top_k=sampling.top_k, top_p=sampling.top_p), 0.0)
        tokens = draw(odds, uniforms)
    return tokens, scaled.gather(-1, tokens[:, None])[:, 0] - log_total


def draw(odds: Float32[Tensor, "B V"], uniforms: Float64[Tensor, " B"]) -> Int64[Tensor, " B"]:
    """Inverse distribution function: the first v with odds_0 + ... + odds_v > u * (odds_0 + ... + odds_{V-1}).

    The sum is found in two steps, first the block of BLOCK entries, then the entry inside it: the same token as one
    long running sum finds, without writing V running sums a row. A token with odds 0 is never drawn.

    Args:
        odds: not negative, not all 0 in a row; they need not sum to 1.
        uniforms: in [0, 1).

    Source: inverse transform sampling, Devroye, "Non-Uniform Random Variate Generation" (1986), chapter III.
    """
    num_rows, num_tokens = odds.shape
    num_blocks = -(-num_tokens // BLOCK)
    if num_blocks * BLOCK != num_tokens:
        odds = pad(odds, (0, num_blocks * BLOCK - num_tokens))
    blocks = odds.view(num_rows, num_blocks, BLOCK)
    ends = blocks.sum(-1).double().cumsum(-1)
    target = (uniforms * ends[:, -1])[:, None]
    block = torch.searchsorted(ends, target, right=True).clamp_(max=num_blocks - 1)
    before = torch.where(block > 0, ends.gather(-1, (block - 1).clamp_(min=0)), 0.0)
    inside = blocks[torch.arange(num_rows, device=odds.device), block[:, 0]].double().cumsum(-1)
    # The block's sum was rounded to float32: what is left of the target may lie just beyond the entries' own sum.
    last = torch.nextafter(inside[:, -1:], torch.zeros_like(target))
    entry = torch.searchsorted(inside, torch.minimum(target - before, last), right=True).clamp_(max=BLOCK - 1)
    return (block * BLOCK + entry)[:, 0].clamp_(max=num_tokens - 1)


def kept(logits: Float32[Tensor, "B V"], *, top_k: int, top_p: float) -> Bool[Tensor, "B V"]:
    """Which tokens may be drawn: True for the top_k likeliest, and of those for the fewest whose sum reaches top_p.

    top_k first; top_p then works on the renormalised rest: v stays iff the probabilities of the tokens likelier than v
    sum to less than top_p. The likeliest token always stays, and so does every token as likely as the least likely one
    that stays. top_k 0 or top_p 1 switches that part off.

    Source: Fan, Lewis, Dauphin (2018), top-k; Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration".
    """
    num_tokens = logits.shape[1]
    size = min(top_k or CANDIDATES, num_tokens)
    likeliest = logits.topk(size).values
    if top_p == 1.0:
        return logits >= likeliest[:, -1:]
    total = (likeliest if top_k else logits).logsumexp(-1, keepdim=True)
    threshold, is_last = _least_of_nucleus(likeliest, total, top_p)
    if not top_k and size < num_tokens and bool(is_last.any()):
        # These rows are so flat that their nucleus may not end among the candidates.
        ordered = logits[is_last].sort(descending=True).values
        threshold[is_last], _ = _least_of_nucleus(ordered, total[is_last], top_p)
    return logits >= threshold


def _least_of_nucleus(
    ordered: Float32[Tensor, "B K"], total: Float32[Tensor, "B 1"], top_p: float
) -> tuple[Float32[Tensor, "B 1"], Bool[Tensor, " B"]]:
    """The smallest of the ordered logits with less than top_p before it, and whether that is the last one given."""
    probabilities = (ordered - total).double().exp()
    before = probabilities.cumsum(-1) - probabilities
    num_kept = (before < top_p).sum(-1, keepdim=True).clamp_(min=1)
    return ordered.gather(-1, num_kept - 1), num_kept[:, 0] == ordered.shape[1]
