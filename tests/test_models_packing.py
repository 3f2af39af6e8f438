"""Packs are full, deterministic, lossless, and never cut a sequence."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.models.packing import pack, plan

LENGTHS = st.lists(st.integers(1, 60), max_size=40)


def test_a_pack_lays_sequences_end_to_end_with_their_own_positions():
    row = pack([[7, 8, 9], [5], torch.tensor([1, 2])])
    assert row.token_ids.tolist() == [7, 8, 9, 5, 1, 2]
    assert row.position_ids.tolist() == [0, 1, 2, 0, 0, 1]
    assert row.lengths == (3, 1, 2)
    assert [part.tolist() for part in row.split(row.token_ids)] == [[7, 8, 9], [5], [1, 2]]


@pytest.mark.parametrize("sequences", [[], [[1], []]])
def test_nothing_to_pack_is_refused(sequences):
    with pytest.raises(ValueError, match="no empty one"):
        pack(sequences)


def test_plan_by_hand():
    # From long to short into packs of 10: 7 opens A (room 3); 5 opens B (room 5); 4 fits B best (room 1); 3 fits A
    # (room 0); 1 fits B (room 0).
    assert plan([5, 1, 7, 3, 4], 10) == [[2, 3], [0, 1, 4]]


def test_a_sequence_beyond_the_budget_gets_its_own_pack():
    assert plan([20, 3, 4], 10) == [[0], [1, 2]]


@given(LENGTHS, st.integers(1, 80))
def test_every_sequence_is_in_exactly_one_pack_and_no_pack_overflows(lengths, max_tokens):
    packs = plan(lengths, max_tokens)
    assert sorted(index for members in packs for index in members) == list(range(len(lengths)))
    for members in packs:
        assert sum(lengths[index] for index in members) <= max_tokens or len(members) == 1
    assert packs == plan(list(lengths), max_tokens)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_at_most_one_pack_is_half_empty(lengths):
    """Best fit would have merged two packs that together fit into one."""
    sums = sorted(sum(lengths[index] for index in members) for members in plan(lengths, 50))
    assert all(low + high > 50 for low, high in pairwise(sums))


@pytest.mark.parametrize(("lengths", "max_tokens"), [([1], 0), ([0, 2], 5)])
def test_impossible_plans_are_refused(lengths, max_tokens):
    with pytest.raises(ValueError, match="token"):
        plan(lengths, max_tokens)


def test_no_sequences_need_no_pack():
    assert plan([], 10) == []
