"""Addressed randomness: reference values, range, uniformity, independence of batching."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.random import Address, Stream, bits, key, torch_seed, uniforms

ADDRESS = Address(seed=1, stage="zero_rl", step=0)
KEYS = st.integers(0, 2**64 - 1)


def uniform(place: int, position: int) -> float:
    return float(uniforms(np.array([place], dtype=np.uint64), np.array([position], dtype=np.int64))[0])


def test_bits_are_the_published_outputs_of_splitmix64():
    # Seed 1234567: the five values published with the reference implementation in C (Vigna; also Rosetta Code).
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [bits(1234567, position) for position in range(5)] == published


def test_uniforms_by_hand():
    # Key 0, position 0: SplitMix64 of seed 0 starts with e220a8397b1dcdaf.
    # e220a8397b1dcdaf >> 11 = 1c4415072f63b9 (hex) = 7956156453446585; / 2^53 (9007199254740992) = 0.8833108082136426
    assert 0xE220A8397B1DCDAF >> 11 == 0x1C4415072F63B9 == 7956156453446585
    assert uniform(0, 0) == 7956156453446585 / 9007199254740992
    assert math.isclose(uniform(0, 0), 0.8833108082136426, abs_tol=1e-15)


def test_uniforms_do_not_warn_at_the_edges_of_64_bits():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keys = np.array([0, 2**64 - 1, 2**63], dtype=np.uint64)
        values = uniforms(keys, np.array([2**62, 0, 5], dtype=np.int64))
    assert values.dtype == np.float64
    assert values.tolist() == [(bits(int(k), p) >> 11) / 2**53 for k, p in zip(keys, (2**62, 0, 5), strict=True)]


@given(st.lists(st.tuples(KEYS, st.integers(0, 2**40)), min_size=1, max_size=20), st.randoms())
@settings(max_examples=50, deadline=None)
def test_uniforms_lie_in_the_unit_interval_and_do_not_depend_on_their_neighbours(places, shuffler):
    def look_up(pairs: list[tuple[int, int]]) -> list[float]:
        keys, positions = zip(*pairs, strict=True)
        return uniforms(np.array(keys, dtype=np.uint64), np.array(positions, dtype=np.int64)).tolist()

    together = look_up(places)
    assert all(0.0 <= value < 1.0 for value in together)
    assert together == [uniform(*place) for place in places]
    order = list(range(len(places)))
    shuffler.shuffle(order)
    assert look_up([places[index] for index in order]) == [together[index] for index in order]


@pytest.mark.parametrize("along", ["positions", "keys"])
def test_uniforms_are_uniform_and_uncorrelated(along):
    count = 16384
    steps = np.arange(count)
    many = np.array([key(ADDRESS, int(index)) for index in steps], dtype=np.uint64)
    keys = many if along == "keys" else np.full(count, key(ADDRESS, "one"), dtype=np.uint64)
    values = uniforms(keys, steps.astype(np.int64) if along == "positions" else np.zeros(count, dtype=np.int64))
    # 64 bins of 256: chi-square with 63 degrees of freedom, mean 63, standard deviation sqrt(126) = 11.2; 5 sigma.
    observed = np.histogram(values, bins=64, range=(0.0, 1.0))[0]
    assert abs(float(((observed - 256) ** 2 / 256).sum()) - 63) < 5 * 11.2
    # The mean of 16384 uniforms has standard deviation 1/sqrt(12 * 16384) = 0.00226; neighbours are uncorrelated.
    assert abs(values.mean() - 0.5) < 5 * 0.00226
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / math.sqrt(count)


def test_keys_tell_every_part_of_an_address_apart():
    keys = [
        key(ADDRESS),
        key(Address(seed=2, stage="zero_rl", step=0)),
        key(Address(seed=1, stage="distill", step=0)),
        key(Address(seed=1, stage="zero_rl", step=1)),
        key(ADDRESS, 1),
        key(ADDRESS, "1"),
        key(ADDRESS, "a", "bc"),
        key(ADDRESS, "ab", "c"),
        key(ADDRESS, 1, 0),
        key(ADDRESS, "中"),
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= each < 2**64 for each in keys)


def test_keys_never_change():
    # blake2b-64 of the text [1,"zero_rl",0]; a change here would change every run that was ever made.
    assert key(ADDRESS) == 0xB2D7ECE58623BE20


def test_torch_seeds_fit_a_signed_integer():
    assert torch_seed(2**64 - 1) == 2**63 - 1
    assert torch_seed(2) == 1


def test_a_stream_reads_the_same_numbers_as_uniforms():
    stream = Stream(77)
    assert [stream.random() for _ in range(4)] == [uniform(77, position) for position in range(4)]


@given(KEYS, st.integers(-(10**6), 10**6), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_integers_include_both_ends_and_nothing_else(place, low, span):
    drawn = [Stream(place + index).integer(low, low + span) for index in range(20)]
    assert all(low <= value <= low + span for value in drawn)


def test_small_integers_are_equally_likely():
    stream = Stream(5)
    counts = np.bincount([stream.integer(1, 6) for _ in range(6000)], minlength=7)[1:]
    # Binomial(6000, 1/6): mean 1000, standard deviation sqrt(6000 * 5/36) = 28.9; 5 sigma = 144.
    assert counts.min() > 1000 - 144
    assert counts.max() < 1000 + 144


def test_a_range_without_integers_is_refused():
    with pytest.raises(ValueError, match="no integer from 2 to 1"):
        Stream(0).integer(2, 1)
    with pytest.raises(ValueError, match="choice from no items"):
        Stream(0).choice([])


@given(KEYS, st.lists(st.integers(), max_size=30))
@settings(max_examples=50, deadline=None)
def test_a_shuffle_keeps_the_items_and_its_argument(place, items):
    before = list(items)
    assert sorted(Stream(place).shuffle(items)) == sorted(before)
    assert items == before


def test_every_order_of_three_is_equally_likely():
    counts: dict[str, int] = {}
    for place in range(6000):
        order = "".join(Stream(place * 2654435761).shuffle("abc"))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 144  # as above


def test_weights_are_proportions_and_zero_means_never():
    stream = Stream(9)
    drawn = [stream.weighted("abc", [1, 0, 3]) for _ in range(4000)]
    # Binomial(4000, 1/4): mean 1000, standard deviation sqrt(4000 * 3/16) = 27.4; 5 sigma = 137.
    assert abs(drawn.count("a") - 1000) < 137
    assert "b" not in drawn


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [1.0], [math.inf, 1.0], [math.nan, 1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="cannot be drawn with weights"):
        Stream(0).weighted("ab", weights)
