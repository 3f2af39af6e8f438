"""Attention over pages against plain softmax attention, and what is written where."""

import pytest
import torch

from zero2r1.models.attention import AttentionContext
from zero2r1.policy import cache as module
from zero2r1.policy.cache import PagedCache, Places, PrefillContext, StepContext
from zero2r1.policy.pages import PAGE
from zero2r1.policy.samples import Piece

HEADS, KV_HEADS, WIDTH, WIDTH_V, SCALING = 6, 2, 8, 5, 0.3
CPU = torch.device("cpu")


def tokens(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values [1, heads, count, width]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(HEADS, WIDTH), (KV_HEADS, WIDTH), (KV_HEADS, WIDTH_V)]
    query, key, value = (torch.randn(1, heads, count, width, generator=generator) for heads, width in shapes)
    return query, key, value


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """[T, H, D_v] causal attention of one whole sequence, written out."""
    keys, values = (tensor[0].repeat_interleave(HEADS // KV_HEADS, dim=0) for tensor in (key, value))
    scores = (query[0] @ keys.transpose(1, 2)) * SCALING
    scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
    return (scores.softmax(-1) @ values).transpose(0, 1)


def attend(context: AttentionContext, parts: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """[T, H, D_v] of some tokens laid end to end."""
    query, key, value = (torch.cat(tensors, dim=2) for tensors in zip(*parts, strict=True))
    return context.attend(3, query, key, value, scaling=SCALING)[0]


def cut(parts: tuple[torch.Tensor, ...], first: int, last: int) -> tuple[torch.Tensor, ...]:
    return tuple(tensor[:, :, first:last] for tensor in parts)


def test_keys_of_a_page_lie_side_by_side() -> None:
    cache = PagedCache(3)
    key = torch.arange(4.0).view(1, 1, 2, 2)  # two tokens: (0, 1) and (2, 3)
    pages = cache.store(0, key, key + 10, Places(torch.tensor([2, 0]), torch.tensor([15, 1])))
    assert pages.keys.shape == (3, 1, 2, PAGE)
    assert pages.values.shape == (3, 1, PAGE, 2)
    assert pages.keys[2, 0, :, 15].tolist() == [0.0, 1.0]
    assert pages.keys[0, 0, :, 1].tolist() == [2.0, 3.0]
    assert pages.values[2, 0, 15].tolist() == [10.0, 11.0]
    assert pages.values[0, 0, 1].tolist() == [12.0, 13.0]
    assert pages.keys.sum() == 6.0
    assert pages.values.sum() == 46.0


@pytest.mark.parametrize("rows", [module.QUERY_ROWS, 7])
def test_pieces_see_what_came_before_them(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(module, "QUERY_ROWS", rows)
    one, other, cache = tokens(50, 1), tokens(20, 2), PagedCache(9)
    pages, others = (7, 1, 4, 8), (3, 0)
    ids = tuple(range(100))
    # 0 to 29 of the one first, then a row with 30 to 49 of it (two pages of its own before) and the other whole.
    first = PrefillContext(cache, [Piece(token_ids=ids[:30], start=0, pages=pages[:2])], device=CPU)
    both = [
        Piece(token_ids=ids[30:50], start=30, pages=pages),
        Piece(token_ids=ids[60:80], start=0, pages=others),
    ]
    second = PrefillContext(cache, both, device=CPU)
    assert second.token_ids.tolist() == [*range(60, 80), *range(30, 50)]
    assert second.position_ids.tolist() == [*range(20), *range(30, 50)]
    begun = attend(first, [cut(one, 0, 30)])
    mixed = attend(second, [other, cut(one, 30, 50)])
    assert torch.allclose(torch.cat((begun, mixed[20:])), plain(*one), atol=1e-6)
    assert torch.allclose(mixed[:20], plain(*other), atol=1e-6)


def test_a_piece_may_look_back_at_one_of_the_same_row() -> None:
    one, cache = tokens(40, 3), PagedCache(5)
    pieces = [
        Piece(token_ids=tuple(range(32)), start=0, pages=(4, 2)),
        Piece(token_ids=tuple(range(8)), start=32, pages=(4, 2, 0)),
    ]
    mixed = attend(PrefillContext(cache, pieces, device=CPU), [one])
    assert torch.allclose(mixed, plain(*one), atol=1e-6)


def test_a_step_sees_its_own_tokens_on_shared_pages_and_no_others() -> None:
    shared, cache = tokens(16, 4), PagedCache(8)
    # Pages of other sequences hold large numbers, which must not be seen.
    big = tuple(tensor * 100 for tensor in tokens(8 * PAGE, 5))
    everywhere = Places(torch.arange(8).repeat_interleave(PAGE), torch.arange(PAGE).repeat(8))
    cache.store(3, big[1], big[2], everywhere)
    attend(PrefillContext(cache, [Piece(token_ids=tuple(range(16)), start=0, pages=(6,))], device=CPU), [shared])
    tails = [tokens(20, 6), tokens(20, 7), tokens(20, 8)]
    tables = torch.tensor([[6, 2, 5], [6, 1, 7], [6, 0, 3]], dtype=torch.int32)
    lengths = [0, 0, 0]
    for step in range(20):
        starts = [0, 3, 9]  # they begin at different times
        live = [i for i in range(3) if step >= starts[i]]
        width = max(-(-(17 + lengths[i]) // PAGE) for i in live)
        positions = torch.tensor([16 + lengths[i] for i in live])
        context = StepContext(cache, tables[live, :width], positions)
        assert context.lengths.tolist() == [17 + lengths[i] for i in live]
        mixed = attend(context, [cut(tails[i], lengths[i], lengths[i] + 1) for i in live])
        for row, i in enumerate(live):
            lengths[i] += 1
            whole = [torch.cat(pair, dim=2) for pair in zip(shared, cut(tails[i], 0, lengths[i]), strict=True)]
            assert torch.allclose(mixed[row], plain(*whole)[-1], atol=1e-5)


def test_a_copied_page_is_a_page_of_its_own() -> None:
    cache = PagedCache(4)
    key = torch.ones(1, 1, 1, 2)
    place = Places(torch.tensor([1]), torch.tensor([3]))
    pages = cache.store(0, key, key, place)
    cache.copy(torch.tensor([1]), torch.tensor([2]))
    cache.store(0, key * 5, key * 5, place)
    assert pages.keys[2].sum() == pages.values[2].sum() == 2.0
    assert pages.keys[1].sum() == pages.values[1].sum() == 10.0
