"""Red flags: each rule speaks when it should, and is silent when all is well."""

import pytest

from zero2r1.cli.health import RULES, warnings
from zero2r1.core.codes import CODES

HEALTHY = {
    "reward/mean": 1.2, "reward/accuracy/mean": 0.5, "reward/format/mean": 0.9, "reward/language/mean": 0.95,
    "reward/zero_std_frac": 0.3, "reward/error_frac": 0.0, "length/mean": 40.0, "length/truncated_frac": 0.02,
    "entropy/mean": 0.6, "kl/mean": 0.01, "grad_norm": 0.8, "gap/mean": 1e-6,
}  # fmt: skip


def rows(count: int = 60, **changes: float) -> list[dict[str, float]]:
    changed = {name.replace("__", "/"): value for name, value in changes.items()}
    return [HEALTHY | changed for _ in range(count)]


def codes(found: list[str]) -> list[str]:
    return [line.split()[1] for line in found]


def test_a_healthy_stage_has_no_warnings():
    assert warnings(rows()) == []


def test_a_young_stage_is_not_judged():
    assert warnings(rows(3, reward__mean=0.0, reward__zero_std_frac=1.0)) == []


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("Z301", {"reward__mean": 0.01}),
        ("Z310", {"reward__zero_std_frac": 0.94}),
        ("Z311", {"length__truncated_frac": 0.6}),
        ("Z312", {"entropy__mean": 0.001}),
        ("Z313", {"kl__mean": 3.0}),
        ("Z314", {"grad_norm": 50.0}),
        ("Z315", {"reward__format__mean": 1.0, "reward__accuracy__mean": 0.0}),
        ("Z316", {"reward__language__mean": 0.4}),
        ("Z317", {"gap__mean": 0.06}),
        ("Z318", {"reward__error_frac": 0.2}),
        ("Z324", {"monitor__unconfirmed_frac": 0.1}),
        ("Z325", {"monitor__suspicious_frac": 0.05}),
    ],
)
def test_each_red_flag_is_said(code, changes):
    assert codes(warnings(rows(**changes))) == [code]


def test_answers_that_grow_without_gain_are_said():
    # 40 tokens grow to 40 * 1.5 = 60 over 50 updates: +50 %, less the averaging over ten at both ends
    growing = [HEALTHY | {"length/mean": 40.0 + 20.0 * step / 59} for step in range(60)]
    assert codes(warnings(growing)) == ["Z322"]
    assert warnings([row | {"reward/mean": 1.0 + step / 60} for step, row in enumerate(growing)]) == []


def test_a_reward_that_rises_alone_is_said():
    rising = [HEALTHY | {"reward/mean": 1.0 + step / 60, "heldout/accuracy": 0.4} for step in range(60)]
    assert codes(warnings(rising)) == ["Z326"]
    assert warnings([row | {"heldout/accuracy": 0.4 + step / 120} for step, row in enumerate(rising)]) == []


def test_a_gain_in_format_alone_is_said():
    rising = [HEALTHY | {"reward/format/mean": 0.5 + step / 200} for step in range(60)]
    assert codes(warnings(rising)) == ["Z327"]


def test_the_sentence_has_the_number_and_the_way_on():
    (line,) = warnings(rows(reward__zero_std_frac=0.94))
    assert line == "warning Z310 no learning signal: 94% of the groups have equal rewards   (zero2r1 explain Z310)"


def test_every_rule_has_its_page():
    assert {code for code, _, _ in RULES} <= set(CODES)
