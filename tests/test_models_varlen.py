"""Sequences of a packed row without padding: outputs and gradients are those of the padded batches."""

from itertools import pairwise

import pytest
import torch

from zero2r1.models.attention import PackedContext
from zero2r1.models.varlen import Varlen, is_for_flash

SCALING = 0.3


class PlainFlash:
    """Flash attention by its definition: the last query of a sequence sees all of its keys, each before it one less."""

    def attend(self, query, key, value, reach, scaling):
        assert (reach.queries.dtype, reach.keys.dtype) == (torch.int32, torch.int32)
        queries, keys = reach.queries.tolist(), reach.keys.tolist()
        assert max(b - a for a, b in pairwise(queries)) == reach.longest_queries
        assert max(b - a for a, b in pairwise(keys)) == reach.longest_keys
        mixed, normaliser = [], []
        for (begin, end), (first, last) in zip(pairwise(queries), pairwise(keys), strict=True):
            own, seen = end - begin, last - first
            assert 0 < own <= seen
            groups = query.shape[1] // key.shape[1]
            some = key[first:last].repeat_interleave(groups, 1), value[first:last].repeat_interleave(groups, 1)
            scores = torch.einsum("qhd,khd->hqk", query[begin:end], some[0]) * scaling
            is_ahead = torch.arange(seen)[None, :] > torch.arange(own)[:, None] + seen - own
            scores = scores.masked_fill(is_ahead, -torch.inf)
            mixed.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), some[1]))
            normaliser.append(scores.logsumexp(-1))
        return torch.cat(mixed), torch.cat(normaliser, -1)

    def attend_backward(self, gradient, query, key, value, mixed, normaliser, reach, scaling):
        inputs = [each.detach().requires_grad_() for each in (query, key, value)]
        with torch.enable_grad():
            again, sums = self.attend(*inputs, reach, scaling)
        torch.testing.assert_close(again, mixed)
        torch.testing.assert_close(sums, normaliser)
        return torch.autograd.grad(again, inputs, gradient)


def places(*sequences):
    return [torch.tensor(one) for one in sequences]


CASES = {
    "end to end": places(range(5), range(5, 6), range(6, 14)),
    "one": places(range(7)),
    # Tokens 0 to 2 are what three sequences begin with.
    "a shared beginning": places([0, 1, 2, 3, 4], [0, 1, 2, 5], [0, 1, 2, 6, 7, 8]),
    "shared twice": places([0, 1, 2, 3], [0, 1, 4, 5], [0, 1, 4, 6], [7, 8]),
    "nothing of its own": places([0, 1, 2, 3], [0, 1, 2], [4, 5], [4]),
}


def rows(num_rows, heads, width, seed):
    return torch.randn(num_rows, heads, width, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_outputs_and_gradients_are_those_of_padded_batches(case, kv_heads):
    context = PackedContext([len(one) for one in CASES[case]], places=CASES[case])
    num_rows = context.num_tokens
    inputs = [rows(num_rows, heads, 8, seed) for seed, heads in enumerate((4, kv_heads, kv_heads))]
    pull = rows(num_rows, 4, 8, 3).detach()
    query, key, value = (each.transpose(0, 1)[None] for each in inputs)
    expected = context.attend(0, query, key, value, scaling=SCALING)[0]
    wanted = torch.autograd.grad(expected, inputs, pull)
    subject = Varlen(context._places, context._owners, "cpu", PlainFlash())
    found = subject.attend(*inputs, SCALING)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for mine, theirs in zip(torch.autograd.grad(found, inputs, pull), wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("order", [places([4, 5, 6], [0, 1, 2, 3]), places([0, 2, 4], [1, 3, 5])])
def test_sequences_may_lie_anywhere_in_the_row(order):
    context = PackedContext([len(one) for one in order], places=order)
    inputs = [rows(context.num_tokens, 2, 8, seed) for seed in range(3)]
    found = Varlen(context._places, context._owners, "cpu", PlainFlash()).attend(*inputs, SCALING)
    for place in order:
        query, key, value = (each[place].transpose(0, 1)[None] for each in inputs)
        alone = PackedContext([len(place)]).attend(0, query, key, value, scaling=SCALING)[0]
        torch.testing.assert_close(found[place], alone, rtol=0, atol=1e-6)


def test_nothing_is_gathered_where_nothing_is_shared():
    subject = Varlen(CASES["end to end"], torch.tensor([0] * 5 + [1] + [2] * 8), "cpu", PlainFlash())
    assert (subject._queries, subject._keys, subject._outputs) == (None, None, None)


def test_a_cpu_has_no_flash_attention():
    assert not is_for_flash(torch.zeros(3, 4, 64, dtype=torch.bfloat16), torch.zeros(3, 2, 64, dtype=torch.bfloat16))
