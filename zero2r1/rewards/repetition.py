"""Repetition: how much of a text says again what it said before, and whether it ends in a loop.

The paper filters cold-start traces by "repetition detection" without a definition; the two measures here are ours.

What is not here: paragraph length and language mixing (the stages that filter decide on those).
"""

import re

TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")


def repeated_fraction(text: str, *, n: int = 8) -> float:
    """Share of the n-grams of a text that occurred before in it.

        share = 1 - distinct n-grams / n-grams

    Args:
        text: any text; its tokens are words, numbers and single other characters (so one Han character is one token).
        n: tokens in an n-gram, at least 1.

    Returns:
        a number in [0, 1); 0 for a text of at most n tokens.

    Ours: the paper names repetition detection without a formula.
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least one token, got n={n}")
    tokens = TOKEN.findall(text)
    num_ngrams = len(tokens) - n + 1
    if num_ngrams < 2:
        return 0.0
    distinct = {tuple(tokens[start : start + n]) for start in range(num_ngrams)}
    return 1.0 - len(distinct) / num_ngrams


def tail_loops(text: str, *, max_period: int = 64) -> int:
    """How many times the last stretch of a text is repeated at its end, for the period that repeats it most.

    Args:
        text: any text.
        max_period: the longest stretch looked for, in tokens.

    Returns:
        1 when nothing repeats; 3 for "so wait so wait so wait". A period of one token counts as a loop like any other.
        A last word that the token budget cut in the middle ("so wait so wait so wa") does not hide the loop before it.

    Ours: endless repetition is named by the paper's authors as a failure of R1-Zero.
    """
    tokens = TOKEN.findall(text[-20_000:])
    most = 1
    for period in range(1, min(max_period, len(tokens) // 2) + 1):
        end, loops = len(tokens), 1
        if _is_cut(tokens[-1], tokens[-1 - period]):
            end -= 1
        stretch = tokens[end - period : end]
        while end - 2 * period >= 0 and tokens[end - 2 * period : end - period] == stretch:
            loops += 1
            end -= period
        most = max(most, loops)
    return most


def _is_cut(last: str, before: str) -> bool:
    """True when a token is the beginning of the one a period earlier, and not all of it."""
    return last != before and before.startswith(last)


def is_repetitive(text: str, *, n: int = 8, max_repeated_frac: float = 0.3, max_tail_loops: int = 3) -> bool:
    """True when a text repeats more of its n-grams, or ends in more loops, than allowed.

    Ours: thresholds are not stated in the paper; 0.3 and 3 leave mechanical arithmetic steps alone.
    """
    return repeated_fraction(text, n=n) > max_repeated_frac or tail_loops(text) > max_tail_loops
