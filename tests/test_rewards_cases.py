"""The built-in corpus: every case gets its verdict, and it is as varied as it says."""

import pytest

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import Verdict
from zero2r1.rewards.base import RewardConfig, make_reward
from zero2r1.rewards.cases import ANSWERS, CHOICE, COUNTDOWN, EXPRESSION, NUMBER, REPLIES, SEQUENCE, cases


@pytest.fixture(scope="module")
def rewards():
    made = {
        (dialect, prefilled): make_reward(RewardConfig(), dialect=dialect, prefilled=prefilled)
        for dialect in Dialect
        for prefilled in (False, True)
    }
    yield made
    for reward in made.values():
        reward.close()


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.dialect}-{case.prompt.language}-{case.name}")
def test_every_case_gets_its_verdict_and_its_format_reward(rewards, case):
    score = rewards[case.dialect, case.prefilled](case.prompt, case.completion)
    assert score.verdict is case.verdict, score.notes
    assert score.parts["format"] == case.format, score.notes


def test_the_corpus_is_varied():
    assert len(ANSWERS) + len(REPLIES) >= 40
    assert {case.prompt.language for case in cases()} == {"en", "zh"}
    assert {case.prompt.answer_kind for case in cases()} == {NUMBER, EXPRESSION, SEQUENCE, CHOICE, COUNTDOWN}
    verdicts = [case.verdict for case in cases()]
    assert verdicts.count(Verdict.RIGHT) >= 20
    assert verdicts.count(Verdict.WRONG) >= 40
