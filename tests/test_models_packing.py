"""Packs are full, deterministic, lossless, and never cut a sequence."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.models.packing import LEAST_SHARED, families_of, pack, plan

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


FAMILIES = st.lists(
    st.tuples(st.integers(1, 20), st.lists(st.integers(1, 12), min_size=1, max_size=6)), min_size=1, max_size=6
)
"""Prompts by their length, and the lengths of what follows each."""


def samples(families):
    """Token ids of every sample, and how many of them are its prompt's."""
    sequences, contexts = [], []
    for number, (prompt, answers) in enumerate(families):
        for i, answer in enumerate(answers):
            sequences.append(torch.tensor([number] * prompt + [100 * number + i] * answer))
            contexts.append(prompt)
    return sequences, contexts


def test_a_shared_beginning_stands_in_the_row_once():
    trunk = list(range(10, 10 + LEAST_SHARED))
    sequences = [torch.tensor([*trunk, 1, 2]), torch.tensor([9, 9]), torch.tensor([*trunk, 3])]
    contexts = [LEAST_SHARED, 1, LEAST_SHARED]
    families = families_of(sequences, contexts)
    assert families == [0, 1, 0]
    row = pack(sequences, families=families, contexts=contexts)
    assert row.token_ids.tolist() == [*trunk, 1, 2, 9, 9, 3]
    assert row.position_ids.tolist() == [*range(LEAST_SHARED + 2), 0, 1, LEAST_SHARED]
    assert row.lengths == (LEAST_SHARED + 2, 2, LEAST_SHARED + 1)
    assert row.places[2].tolist() == [*range(LEAST_SHARED), LEAST_SHARED + 4]


def test_plan_counts_a_shared_beginning_once():
    # Two samples of 8 + 2 tokens take 12, and a third prompt's 4 fill the pack of 16.
    assert plan([10, 10, 4], 16, families=[0, 0, 1], contexts=[8, 8, 1]) == [[0, 1, 2]]
    assert plan([10, 10, 4], 16) == [[0, 2], [1]]


@given(FAMILIES, st.integers(1, 60))
def test_every_token_of_every_sample_is_found_in_its_pack(families, max_tokens):
    sequences, contexts = samples(families)
    numbers = families_of(sequences, contexts)
    packs = plan(list(map(len, sequences)), max_tokens, families=numbers, contexts=contexts)
    assert sorted(index for members in packs for index in members) == list(range(len(sequences)))
    for members in packs:
        chosen = [sequences[i] for i in members]
        row = pack(chosen, families=[numbers[i] for i in members], contexts=[contexts[i] for i in members])
        assert len(row.token_ids) <= max_tokens or len(members) == 1
        for sequence, place in zip(chosen, row.places, strict=True):
            assert torch.equal(row.token_ids[place], sequence)
            assert torch.equal(row.position_ids[place], torch.arange(len(sequence)))
        assert sorted(set(torch.cat(row.places).tolist())) == list(range(len(row.token_ids)))


def test_short_beginnings_are_not_shared():
    sequences = [torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4])]
    assert families_of(sequences, [2, 2]) == [0, 1]
