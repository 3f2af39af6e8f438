"""The sum of parts: weights, verdicts, errors that are masked and counted."""

import pytest
from pydantic import ValidationError
from test_rewards_custom import completion as completion_of

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import RewardError
from zero2r1.core.types import AnswerKind, Message, Prompt, Reward, Verdict
from zero2r1.rewards.base import RewardConfig, SumReward, make_reward

GOOD = "<think> ones 2*1=2 carry 进位 </think> <answer> 42 </answer>"


def prompt(kind: AnswerKind = AnswerKind.NUMBER, reference: str = "42", language: str = "en") -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="6*7?"),),
        reference=reference,
        gold=reference,
        answer_kind=kind,
        domain="arithmetic",
        language=language,
    )


def score(reward: SumReward, text: str, asked: Prompt | None = None):
    asked = asked or prompt()
    return reward(asked, completion_of(asked, text))


def r1_zero(**config) -> SumReward:
    return make_reward(RewardConfig(**config), dialect=Dialect.R1_ZERO)


def test_the_default_is_accuracy_plus_format_with_the_same_weight():
    with r1_zero() as reward:
        assert score(reward, GOOD).value == 2.0
        assert score(reward, "<think> a </think> <answer> 41 </answer>").value == 1.0  # format only
        assert score(reward, "<answer> 42 </answer>").value == 1.0  # accuracy only
        assert score(reward, "42").value == 0.0


def test_the_value_is_the_weighted_sum_of_the_parts():
    share = 2 / (2 + 2 / 1.5)  # ones, carry = 2 English words; 进位 = 2 / 1.5 Chinese words
    with r1_zero(accuracy=2.0, format=0.5, language=3.0) as reward:
        result = score(reward, GOOD)
    assert result.parts == {"accuracy": 1.0, "format": 1.0, "language": pytest.approx(share)}
    assert result.value == pytest.approx(2.0 * 1.0 + 0.5 * 1.0 + 3.0 * share)
    assert result.verdict is Verdict.RIGHT


def test_a_part_of_weight_zero_is_measured_but_not_paid():
    with r1_zero(accuracy=0.0) as reward:
        result = score(reward, "<think> 进位 </think> <answer> 41 </answer>")
    assert result.value == 1.0  # format alone
    assert result.parts == {"accuracy": 0.0, "format": 1.0, "language": 0.0}
    assert result.verdict is Verdict.WRONG


def test_every_part_that_is_not_full_says_why():
    with r1_zero() as reward:
        notes = score(reward, "进位 <answer> 41 </answer>").notes
    assert [note.partition(":")[0] for note in notes] == ["accuracy", "format", "language"]
    assert all(note.partition(": ")[2] for note in notes)


def test_a_reference_that_cannot_be_judged_masks_the_value_and_is_counted():
    with r1_zero() as reward:
        score(reward, GOOD)
        result = score(reward, GOOD, prompt(reference="forty-two"))
        assert result.value is None
        assert result.verdict is Verdict.ERROR
        assert result.parts["accuracy"] is None
        assert reward.error_frac == 0.5
        assert list(reward.error_reasons.values()) == [1]


def test_a_prompt_without_checkable_answer_is_paid_for_its_other_parts():
    with r1_zero() as reward:
        result = score(reward, GOOD, prompt(AnswerKind.NONE, reference=""))
        assert result.value == 1.0  # format
        assert result.verdict is Verdict.ERROR  # nobody can say right or wrong
        assert result.parts["accuracy"] is None
        assert reward.error_frac == 0.0


def test_nothing_that_judges_means_no_value_and_never_zero():
    with r1_zero(format=0.0) as reward:
        assert score(reward, GOOD, prompt(AnswerKind.NONE, reference="")).value is None


def test_a_language_without_a_known_script_is_an_error_only_where_it_is_paid():
    with r1_zero(language=1.0) as paid, r1_zero() as unpaid:
        assert score(paid, GOOD, prompt(language="xx")).value is None
        assert score(unpaid, GOOD, prompt(language="xx")).value == 2.0


def test_custom_rewards_add_up_and_their_failures_are_errors_with_the_reason(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def half(prompt, completion):\n    return 0.5\n"
        "def broken(prompt, completion):\n    raise KeyError('no such column')\n"
        "def nan(prompts, completions, **columns):\n    return [float('nan')]\n",
        encoding="utf-8",
    )
    scores = {}
    for name in ("half", "broken", "nan"):
        config = RewardConfig(custom={f"mine.py::{name}": 2.0})
        with make_reward(config, dialect=Dialect.R1_ZERO, folder=tmp_path) as reward:
            scores[name] = score(reward, GOOD)
            assert reward.error_frac == (0.0 if name == "half" else 1.0)
    assert scores["half"].value == 3.0
    assert scores["half"].parts["mine.py::half"] == 0.5
    for name, reason in (("broken", "KeyError: 'no such column'"), ("nan", "not a finite number")):
        assert scores[name].value is None
        assert scores[name].verdict is Verdict.ERROR
        assert any(reason in note for note in scores[name].notes)


def test_a_missing_custom_reward_is_refused_when_the_reward_is_built(tmp_path):
    config = RewardConfig(custom={"nowhere.py::f": 1.0})
    with pytest.raises(RewardError, match="Z140"):
        make_reward(config, dialect=Dialect.R1, folder=tmp_path)


def test_expressions_are_judged_in_the_worker_which_ends_with_the_reward():
    with r1_zero() as reward:
        text = r"<think> a b c </think> <answer> $\sqrt{12}$ </answer>"
        assert score(reward, text, prompt(AnswerKind.EXPRESSION, r"2\sqrt{3}")).verdict is Verdict.RIGHT
        link = reward._accuracy._pool._link
        assert link is not None
    assert link.process.returncode == 0


def test_plain_numbers_never_start_a_process():
    with r1_zero() as reward:
        score(reward, GOOD)
        assert reward._accuracy._pool._link is None


def test_a_prefilled_reply_is_judged_whole():
    with make_reward(RewardConfig(language=1.0), dialect=Dialect.R1, prefilled=True) as reward:
        assert score(reward, "six sevens\n</think>\n\nIt is \\boxed{42}.").value == 3.0


def test_a_sum_reward_is_a_reward():
    reward: Reward = r1_zero()
    assert reward(prompt(), completion_of(prompt(), GOOD)).value == 2.0


def test_unknown_parts_are_refused():
    with pytest.raises(ValidationError):
        RewardConfig(acuracy=1.0)
