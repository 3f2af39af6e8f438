"""A reply that is one true equation, `4 + 7 = 11`, gives its right side as the answer. Plain dialect only.

A chat model that was never taught a format answers sums this way. The equation must hold: `41 = 42` or `3 + 3 = 42`
name no answer, so that writing the reference behind any equals sign earns nothing.

What it does not do: variables, several equations, anything but + - * / and parentheses over whole numbers.
"""

from zero2r1.rewards.countdown import CountdownProblem, evaluate
from zero2r1.rewards.numerals import MAX_ANSWER_CHARS, parse_number, undress

QUOTES = "\"'“”‘’`"
SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


def worked_out(text: str) -> str | None:
    """The right side of a text that is one equation and holds; None for anything else.

    Ours: the paper's tasks have a required format (a box); a base chat model on a laptop has none.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return None
    left, equals, right = undress(undress(text).strip(QUOTES)).partition("=")
    if not equals or "=" in right or left.strip().isdigit():
        return None
    number = parse_number(right.strip())
    if number is None or number.is_percent:
        return None
    try:
        value, _ = evaluate(left.translate(SIGNS).strip())
    except CountdownProblem:
        return None
    return right.strip() if value == number.value else None
