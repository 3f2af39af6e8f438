"""The random control: fair, and the same for the same completion."""

from zero2r1.rewards.control import coin


def test_a_completion_keeps_its_coin():
    assert [coin("abc", 0) for _ in range(3)] == [coin("abc", 0)] * 3


def test_the_coin_is_fair_and_independent_of_another_seed():
    ids = [f"{number:016x}" for number in range(2000)]
    first, second = ([coin(one, seed) for one in ids] for seed in (0, 1))
    assert set(first) == {0.0, 1.0}
    # the standard deviation of a mean of 2000 coins is 0.5 / sqrt(2000) = 0.011; four of them are 0.045
    assert abs(sum(first) / 2000 - 0.5) < 0.045
    assert abs(sum(a == b for a, b in zip(first, second, strict=True)) / 2000 - 0.5) < 0.045
