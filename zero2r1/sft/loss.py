"""Cross entropy of the tokens a reply should have.

What it does not do: label smoothing, or any weighting besides the one in the batch.
"""

from jaxtyping import Float
from torch import Tensor

from zero2r1.learner.base import Tokens


def cross_entropy(
    logprobs: Float[Tensor, " n"], entropy: Float[Tensor, " n"], tokens: Tokens
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, " n"]]]:
    """sum_t weight_t * (-logprob_t), and per token `nll` (that is -logprob) and `entropy`, in nats.

    logprobs [n], entropy [n] in nats. With weights 1/N it is the mean over the N tokens of the batch.
    Source: DeepSeek-R1 (arXiv 2501.12948v2), supervised fine-tuning; maximum likelihood of the next token.
    """
    nll = -logprobs
    return (tokens.weights * nll).sum(), {"nll": nll.detach(), "entropy": entropy}
