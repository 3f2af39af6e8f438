"""The second verifier: right where the answer is, wrong on the tricks, error where it cannot judge."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Message, Prompt, Verdict
from zero2r1.rewards.cases import cases
from zero2r1.rl.pointwise import Unreadable, value_at
from zero2r1.rl.second_opinion import last_answer, second_verdict


def verdict(answer: str, reference: str, kind: AnswerKind, *, dialect: Dialect = Dialect.R1_ZERO) -> Verdict:
    prompt = Prompt(
        messages=(Message(role="user", content="?"),), reference=reference, gold=reference, answer_kind=kind,
        domain="toy", language="en",
    )  # fmt: skip
    text = f"<think> a </think> <answer> {answer} </answer>"
    if dialect is Dialect.R1:
        text = f"<think>\na\n</think>\n\n\\boxed{{{answer}}}"
    return second_verdict(prompt, text, dialect)


RIGHT = {
    AnswerKind.NUMBER: [
        ("42", "42"), ("４２", "42"), ("1,234", "1234"), ("1\\frac{1}{2}", "3/2"), ("$x = -3$", "-3"), ("3.50", "7/2"),
        ("\\frac{1}{3}", "1/3"), ("50%", "50%"), ("−7", "-7"), ("1{,}000", "1000"), ("the answer is 42.", "42"),
    ],
    AnswerKind.SEQUENCE: [("1, 2, 3", "1,2,3"), ("[1 2 3]", "1,2,3"), ("-1; 2", "-1,2")],
    AnswerKind.CHOICE: [("(b)", "B"), ("Option B.", "B"), ("yes", "Yes"), ("选B", "B"), ("A", "A")],
    AnswerKind.COUNTDOWN: [
        ("(3+5)*3", "24|3,5,3"), ("(3 + 5) × 3 = 24", "24|3,5,3"), ("8/(3-8/3)", "24|8,3,8,3"),
        ("\\frac{8}{2}", "4|8,2"),
    ],
    AnswerKind.EXPRESSION: [
        ("\\frac{\\pi}{4}", "pi/4"), ("2\\sqrt{3}", "\\sqrt{12}"), ("x^2+2x+1", "(x+1)^2"), ("x=3", "3"),
        ("\\frac12", "0.5"), ("\\sqrt[3]{8}", "2"), ("e^{i\\pi}", "-1"), ("(1, 2)", "(1,2)"),
    ],
}  # fmt: skip
WRONG = {
    AnswerKind.NUMBER: [
        ("41 = 42", "42"), ("6*7", "42"), ("\\frac{84}{2}", "42"), ("84/2", "42"), ("4²", "42"), ("42²", "42"),
        ("41 or 42", "42"), ("5-3", "-3"), ("50%", "0.5"), ("", "42"), ("1/0", "1"), ("9" * 150, "9"), ("forty", "40"),
    ],
    AnswerKind.SEQUENCE: [("3 2 1", "1,2,3"), ("1,2", "1,2,3"), ("1,2,3,4", "1,2,3"), ("-1,2", "1,2")],
    AnswerKind.CHOICE: [("A or B", "B"), ("no", "yes"), ("A, B", "B"), ("", "B"), ("not B", "B")],
    AnswerKind.COUNTDOWN: [
        ("24", "24|3,5,3"), ("(3+5)*3=25", "24|3,5,3"), ("3*5+3**2", "24|3,5,3"), ("35-3", "32|3,5,3"),
        ("1/0", "1|1,0"), ("3.5*3", "24|3,5,3"), ("2(3)", "6|2,3"), ("24+x-x", "24|24"), ("((((", "24|3,5,3"),
    ],
    AnswerKind.EXPRESSION: [("2x", "2y"), ("-x^2", "(-x)^2"), ("3", "\\pi"), ("x+1", "x-1")],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "pair"), [(kind, pair) for kind, pairs in RIGHT.items() for pair in pairs])
@pytest.mark.parametrize("dialect", [Dialect.R1_ZERO, Dialect.R1])
def test_a_right_answer_is_right(kind, pair, dialect):
    assert verdict(*pair, kind, dialect=dialect) is Verdict.RIGHT


@pytest.mark.parametrize(("kind", "pair"), [(kind, pair) for kind, pairs in WRONG.items() for pair in pairs])
def test_a_trick_is_wrong(kind, pair):
    assert verdict(*pair, kind) is Verdict.WRONG


@pytest.mark.parametrize(
    ("answer", "reference", "kind"),
    [
        ("anything", "x", AnswerKind.NONE),
        ("42", "no number", AnswerKind.NUMBER),
        ("B", "", AnswerKind.CHOICE),
        ("3", "24", AnswerKind.COUNTDOWN),
        ("(1, 3)", "(1, 2)", AnswerKind.EXPRESSION),
        ("\\sum n", "3", AnswerKind.EXPRESSION),
    ],
)
def test_what_cannot_be_judged_is_an_error(answer, reference, kind):
    assert verdict(answer, reference, kind) is Verdict.ERROR


@pytest.mark.parametrize(
    ("text", "dialect", "prefilled", "answer"),
    [
        ("<think> <answer> 1 </answer> </think> <answer> 2 </answer>", Dialect.R1_ZERO, False, "2"),
        ("<think> <answer> 1 </answer>", Dialect.R1_ZERO, False, None),
        ("1 </think> <answer> \\boxed{2} </answer>", Dialect.R1_ZERO, True, "2"),
        ("<answer> 2 </answer>", Dialect.R1_ZERO, True, None),
        ("<think> </think> 2", Dialect.R1_ZERO, False, None),
        ("<think>\\boxed{1}</think> so \\boxed{2}", Dialect.R1, False, "2"),
        ("<think>\\boxed{1}</think> so 2", Dialect.R1, False, None),
        ("first\nthen 2\n", Dialect.PLAIN, False, "then 2"),
        ("", Dialect.PLAIN, False, None),
    ],
)
def test_the_answer_is_found_after_the_thinking(text, dialect, prefilled, answer):
    found = last_answer(text, dialect, prefilled=prefilled)
    assert (found.strip() if found is not None else None) == answer


def test_values_are_those_computed_by_hand():
    def at_two(name: str) -> float:
        return 2.0

    # 3x^2 - x/4 + 1 at 2: 12 - 0.5 + 1 = 12.5;  -2^2 = -4;  2^{3^2} = 2^9;  2 1/3 = 7/3;  8 / 2 * 4 = 16
    assert value_at("3x^2 - x/4 + 1", at_two) == 12.5
    assert value_at("-x^2", at_two) == -4
    assert value_at("x^{3^x}", at_two) == 512
    assert value_at("2\\frac{1}{3}", at_two) == pytest.approx(7 / 3)
    assert value_at("8 / 2 * 4", at_two) == 16
    assert value_at("|1-x|", at_two) == 1
    assert value_at("\\ln(e) + \\sqrt 4", at_two) == pytest.approx(3)
    assert value_at("\\sin \\pi", at_two) == pytest.approx(math.sin(math.pi))


@pytest.mark.parametrize(
    "text", ["", "1/0", "(", "9^9^9^9", "(" * 200, "-" * 250, "x" * 301, "1 +", "\\foo", "^2", "2^" * 100, "sqrt" * 70]
)
def test_what_has_no_value_is_unreadable(text):
    with pytest.raises(Unreadable):
        value_at(text, lambda name: 1.0)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80) | st.text(alphabet="0123456789+-*/^(){}\\fracsqrt .,=|x\n<>answerthink%²", max_size=120),
       st.sampled_from(list(AnswerKind)), st.sampled_from(list(Dialect)), st.booleans())  # fmt: skip
def test_no_text_makes_it_raise(text, kind, dialect, prefilled):
    prompt = Prompt(
        messages=(Message(role="user", content="?"),), reference="24|3,5,3", gold="", answer_kind=kind, domain="toy",
        language="en",
    )  # fmt: skip
    for reply in (text, f"<think> a </think> <answer> {text} </answer>", f"<think> </think> \\boxed{{{text}}}"):
        assert isinstance(second_verdict(prompt, reply, dialect, prefilled=prefilled), Verdict)


def test_it_agrees_with_the_verdicts_of_the_built_in_cases():
    judged = [
        (case, second_verdict(case.prompt, case.text, case.dialect, prefilled=case.prefilled)) for case in cases()
    ]
    sure = [(case, second) for case, second in judged if second is not Verdict.ERROR]
    differ = {case.name for case, second in sure if second is not case.verdict}
    assert len(sure) >= 120
    assert differ == set()
