"""The compiled attention: over pages and over packed rows, its gradients, and that both give a token the same bits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.models.attention import PackedContext
from zero2r1.models.kernels.arguments import LANES
from zero2r1.models.kernels.attention import sequences_of

NEAR = {torch.float32: {"rtol": 2e-6, "atol": 2e-6}, torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2}}


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture(scope="module")
def attention(kernels):
    return kernels.attention


def paged(keys, values, *, kv_heads, width, dtype, seed=0):
    """Sequences of keys [L, H_kv, D] spread over pages in no order, with NaN wherever nothing was written."""
    num_pages = sum(-(-len(key) // LANES) for key in keys) + 3
    order = torch.randperm(num_pages, generator=torch.Generator().manual_seed(seed)).tolist()
    pages = torch.full((num_pages, kv_heads, width, LANES), math.nan, dtype=dtype)
    page_values = torch.zeros(num_pages, kv_heads, LANES, width, dtype=dtype)
    tables = torch.zeros(len(keys), max(-(-len(key) // LANES) for key in keys), dtype=torch.int32)
    for row, key in enumerate(keys):
        for page in range(-(-len(key) // LANES)):
            tables[row, page] = order.pop()
    return pages, page_values, tables


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("shared", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("width", [16, 32, 80])
def test_attention_over_pages_is_attention(attention, dtype, shared, width):
    lengths, kv_heads = [1, 16, 17, 45], 2
    keys = [numbers(length, kv_heads, width, seed=length, dtype=dtype) for length in lengths]
    values = [numbers(length, kv_heads, width, seed=length + 50, dtype=dtype) for length in lengths]
    pages, page_values, tables = paged(keys, values, kv_heads=kv_heads, width=width, dtype=dtype)
    for position in range(max(lengths)):
        rows = [row for row, length in enumerate(lengths) if position < length]
        attention.put(
            pages, page_values,
            torch.stack([keys[row][position] for row in rows]), torch.stack([values[row][position] for row in rows]),
            tables[rows].contiguous(), torch.full((len(rows),), position, dtype=torch.int32),
        )  # fmt: skip
    query = numbers(len(lengths), kv_heads * shared, width, seed=9, dtype=dtype)
    out = attention.attend(
        query, pages, page_values, tables, torch.tensor(lengths, dtype=torch.int32), scaling=0.3, longest=max(lengths)
    )
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        repeated = [tensor.double().repeat_interleave(shared, dim=1) for tensor in (key, value)]
        weights = torch.einsum("hd,lhd->hl", query[row].double() * 0.3, repeated[0]).softmax(-1)
        want = torch.einsum("hl,lhd->hd", weights, repeated[1])
        near = {"rtol": NEAR[dtype]["rtol"] * 4, "atol": NEAR[dtype]["atol"]}
        torch.testing.assert_close(out[row].double(), want, **near)


def test_attention_does_not_depend_on_neighbours_or_threads(attention):
    rows, kv_heads, width = 40, 2, 32
    pages, values = numbers(rows * 2, kv_heads, width, LANES), numbers(rows * 2, kv_heads, LANES, width, seed=1)
    tables = torch.arange(rows * 2, dtype=torch.int32).view(rows, 2)
    lengths = torch.arange(rows, dtype=torch.int32) % 31 + 1
    query = numbers(rows, 4, width, seed=2)
    whole = attention.attend(query, pages, values, tables, lengths, scaling=1.0, longest=31)
    alone = [
        attention.attend(
            query[i : i + 1], pages, values, tables[i : i + 1], lengths[i : i + 1], scaling=1.0, longest=31
        )
        for i in range(rows)
    ]
    assert torch.equal(whole, torch.cat(alone))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(attention.attend(query, pages, values, tables, lengths, scaling=1.0, longest=31), whole)
    finally:
        torch.set_num_threads(threads)


def tree(prompt, *answers):
    """Places of answers that follow one prompt, which the first of them owns; and how many tokens others own."""
    places, start = [], prompt
    for answer in answers:
        places.append(torch.cat([torch.arange(prompt), torch.arange(start, start + answer)]))
        start += answer
    return places, [0, *[prompt] * (len(answers) - 1)]


def plain(query, key, value, places, scaling):
    """[T, H, D_v] in float64 from the definition; of a token that several sequences have, from the last."""
    shared = query.shape[1] // key.shape[1]
    keys, values = (rows.double().repeat_interleave(shared, 1) for rows in (key, value))
    parts, order = [], torch.cat(places)
    for own in places:
        scores = torch.einsum("qhd,khd->hqk", query.double()[own] * scaling, keys[own])
        hidden = torch.ones(len(own), len(own), dtype=torch.bool).triu(1)
        parts.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), values[own]))
    last = torch.zeros(len(query), dtype=torch.int64).scatter_(0, order, torch.arange(len(order)))
    return torch.cat(parts)[last]


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "value_width"), [(3, 1, 16, 32), (4, 4, 32, 16), (14, 2, 80, 80)]
)
@pytest.mark.parametrize(
    ("prompt", "answers", "part"),
    [(5, (1, 12, 30, 2), 1024), (16, (16, 1), 16), (33, (40,), 1024), (300, (2, 3), 1024), (10, (50, 3, 90), 13)],
)
def test_packed_attention_and_its_gradients(
    attention, dtype, heads, kv_heads, width, value_width, prompt, answers, part, monkeypatch
):
    monkeypatch.setattr("zero2r1.models.kernels.attention.PART_TOKENS", part)
    places, _ = tree(prompt, *answers)
    total = prompt + sum(answers)
    parts = [numbers(total, *shape, seed=i, dtype=dtype).requires_grad_() for i, shape in enumerate(
        [(heads, width), (kv_heads, width), (kv_heads, value_width)]
    )]  # fmt: skip
    pull = numbers(total, heads, value_width, seed=9, dtype=dtype)
    exact = [part.detach().double().requires_grad_() for part in parts]
    wanted = plain(*exact, places, 0.3)
    wanted_gradients = torch.autograd.grad(wanted, exact, pull.double())
    context = PackedContext([len(own) for own in places], places=places, kernels=attention)
    out = context.attend(0, *(part.transpose(0, 1)[None] for part in parts), scaling=0.3)[0]
    near = {"rtol": NEAR[dtype]["rtol"] * 4, "atol": NEAR[dtype]["atol"]}
    torch.testing.assert_close(out.double(), wanted, **near)
    for found, right in zip(torch.autograd.grad(out, parts, pull), wanted_gradients, strict=True):
        assert found.dtype == dtype
        assert float((found.double() - right).abs().max()) <= NEAR[dtype]["rtol"] * 2 * float(right.abs().max())


def test_the_gradients_by_hand(attention):
    # q_1 = 2 ln 3, k = (1, 0), v = (10, 20), scaling 1/2; only token 1 is pulled at. Its weights are (3/4, 1/4), the
    # slopes by weight (10, 20), their mean 12.5, so dS = (3/4 * -2.5, 1/4 * 7.5) = (-1.875, 1.875).
    # dq_1 = 1/2 * -1.875 = -0.9375; dk = 1/2 * dS * 2 ln 3 = -+2.0599; dv = (3/4, 1/4). Fifteen more numbers are 0.
    query, key, value, pull = (
        torch.nn.functional.pad(torch.tensor(n).view(2, 1, 1), (0, 15))
        for n in ([0.0, 2.1972246], [1.0, 0.0], [10.0, 20.0], [0.0, 1.0])
    )
    sequences = sequences_of([torch.arange(2)], [0], num_rows=2)
    out = attention.attend_packed(query, key, value, sequences, scaling=0.5)
    torch.testing.assert_close(out[:, 0, 0], torch.tensor([10.0, 12.5]))
    found = attention.attend_packed_backward(pull, query, key, value, sequences, scaling=0.5)
    wanted = [[0.0, -0.9375], [-2.0598981, 2.0598981], [0.75, 0.25]]
    for one, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(one[:, 0, 0], torch.tensor(right))
        assert torch.count_nonzero(one[:, 0, 1:]) == 0


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(list(NEAR)),
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    shared=st.integers(1, 5),
    width=st.sampled_from([16, 32, 80]),
    cut=st.integers(0, 49),
)
def test_a_token_gets_the_same_bits_over_pages_in_a_pack_and_in_a_later_piece(
    attention, dtype, lengths, shared, width, cut
):
    kv_heads, total = 2, sum(lengths)
    query = numbers(total, kv_heads * shared, width, dtype=dtype)
    key, value = (numbers(total, kv_heads, width, seed=seed, dtype=dtype) for seed in (1, 2))
    places = torch.arange(total).split(lengths)
    packed = attention.attend_packed(
        query, key, value, sequences_of(places, [0] * len(places), num_rows=total), scaling=0.3
    )
    pages, page_values, tables = paged(
        [key[own] for own in places], [value[own] for own in places], kv_heads=kv_heads, width=width, dtype=dtype
    )
    for position in range(max(lengths)):
        rows = [row for row, length in enumerate(lengths) if position < length]
        at = torch.stack([places[row][position] for row in rows])
        table = tables[rows].contiguous()
        attention.put(pages, page_values, key[at], value[at], table, torch.full((len(rows),), position).int())
        seen = torch.full((len(rows),), position + 1).int()
        stepped = attention.attend(query[at], pages, page_values, table, seen, scaling=0.3, longest=max(lengths))
        assert torch.equal(stepped, packed[at])
    own = places[-1]
    start = min(cut, len(own) - 1)
    later = sequences_of([torch.arange(len(own))], [start], num_rows=len(own), shift=start)
    piece = attention.attend_packed(query[own[start:]], key[own], value[own], later, scaling=0.3)
    assert torch.equal(piece, packed[own[start:]])


def test_long_sequences_are_learned_from_in_parts():
    # 8192 tokens: eight parts of 1024, the last one first; all but the first keep 1024, 2048 ... 7168 copies. The other
    # sequence shares 1500 tokens: its first part has nothing of its own, its second 548 tokens.
    places = [torch.arange(8192), torch.cat([torch.arange(1500), torch.arange(8192, 8800)])]
    found = sequences_of(places, [0, 1500], num_rows=8800)
    assert found.table[:, 1].tolist() == [8192, 7168, 6144, 5120, 4096, 3072, 2048, 1024, 2108, 2048]
    assert found.table[:, 2].tolist() == [7168, 6144, 5120, 4096, 3072, 2048, 1024, 0, 2048, 1500]
    assert found.num_copies == 28 * 1024 + 2048 + 1500
    assert found.table[:3, 4].tolist() == [8800, 8800 + 7168, 8800 + 7168 + 6144]
    assert (found.table[-1, 0] - found.table[0, 0]).item() == 8 * 8192
    # No more than eight.
    assert len(sequences_of([torch.arange(9000)], [0], num_rows=9000).table) == 8


def test_packed_attention_does_not_depend_on_threads(attention, monkeypatch):
    monkeypatch.setattr("zero2r1.models.kernels.attention.PART_TOKENS", 100)
    places, firsts = tree(40, 30, 70, 1, 300)
    total = 40 + 401
    query, key, value, pull = (numbers(total, heads, 32, seed=heads) for heads in (4, 2, 2, 4))
    sequences = sequences_of(places, firsts, num_rows=total)

    def everything():
        out = attention.attend_packed(query, key, value, sequences, scaling=0.2)
        return [out, *attention.attend_packed_backward(pull, query, key, value, sequences, scaling=0.2)]

    alone, threads = everything(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert all(map(torch.equal, everything(), alone))
    finally:
        torch.set_num_threads(threads)


def test_gradients_do_not_cross_between_sequences(attention):
    sequences = sequences_of(torch.arange(19).split([3, 7, 9]), [0, 0, 0], num_rows=19)
    query, key, value, pull = (numbers(19, heads, 16, seed=heads) for heads in (4, 2, 2, 4))
    pull[:3] = pull[10:] = 0.0
    for gradient in attention.attend_packed_backward(pull, query, key, value, sequences, scaling=0.5):
        assert torch.count_nonzero(gradient[:3]) == torch.count_nonzero(gradient[10:]) == 0
        assert torch.count_nonzero(gradient[3:10]) > 0


def test_heads_that_no_vector_fits_go_the_other_way(attention, monkeypatch):
    monkeypatch.setattr(type(attention), "attend_packed", lambda *_, **__: pytest.fail("it was asked"))
    for width, dtype in ((8, torch.float32), (24, torch.float32), (16, torch.float64)):
        query, key, value = (numbers(1, heads, 5, width, seed=heads, dtype=dtype) for heads in (4, 2, 2))
        out = PackedContext([5], kernels=attention).attend(0, query, key, value, scaling=0.5)
        assert torch.equal(out, PackedContext([5]).attend(0, query, key, value, scaling=0.5))
