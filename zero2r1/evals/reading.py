"""What can be seen in one response without knowing the right answer: format, language, repetition, length, answer.

Readable, as this package measures it: well-formed AND language consistency >= 0.9 AND not repetitive AND something is
left for the reader after the thinking.

Deviations: the paper calls R1-Zero hard to read and its filters "readable format" without a definition; this one is
ours, and every part of it is reported on its own as well. What it does not see: whether the text is pleasant.
"""

import re
from dataclasses import dataclass

from zero2r1.core.dialogue import Dialect, parse
from zero2r1.rewards.answers import final_answer, thinking_text
from zero2r1.rewards.language import SCRIPTS, language_share
from zero2r1.rewards.repetition import is_repetitive

MIN_LANGUAGE = 0.9
"""Least language consistency of a readable response. Ours: a stray foreign word is not yet mixing."""

_HAN = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_WORD = re.compile(rf"[{_HAN}]|(?:(?![{_HAN}])[^\W_])+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one response looks like."""

    answer: str | None
    """The final answer as written; None when there is not exactly one."""
    is_well_formed: bool
    problem: str
    """What breaks the format, empty when nothing does."""
    language_consistency: float | None
    """Share of the thinking's words in the question's language; None without words or for an unknown language."""
    is_repetitive: bool
    has_final_part: bool
    """Something is left for the reader after the thinking."""
    thinking_words: int
    think_chars: int

    @property
    def is_readable(self) -> bool:
        """Well-formed, in one language, without loops, and with a final part."""
        in_language = self.language_consistency is None or self.language_consistency >= MIN_LANGUAGE
        return self.is_well_formed and in_language and not self.is_repetitive and self.has_final_part


def read(text: str, language: str, dialect: Dialect, *, prefilled: bool = False) -> Reading:
    """Look at one response.

    Args:
        text: the response as the model wrote it.
        language: ISO 639-1 code of the question.
        dialect: how thinking and answer are marked.
        prefilled: True when the prompt already ended with `<think>`.
    """
    parsed = parse(text, dialect, prefilled=prefilled)
    thinking = thinking_text(text, prefilled=prefilled) if dialect is not Dialect.PLAIN else text
    final = parsed.reply.summary if parsed.reply.summary is not None else parsed.reply.answer
    return Reading(
        answer=final_answer(text, dialect, prefilled=prefilled).answer,
        is_well_formed=parsed.is_well_formed,
        problem=parsed.problem,
        language_consistency=language_share(thinking, language) if language in SCRIPTS else None,
        is_repetitive=is_repetitive(text),
        has_final_part=bool(final and final.strip()),
        thinking_words=count_words(parsed.reply.thinking or ""),
        think_chars=len(parsed.reply.thinking or ""),
    )


def count_words(text: str) -> int:
    """Number of words: runs of letters and digits; each Han character and kana counts as one.

    Ours: a length that needs no tokenizer, so that it can be compared between models.
    """
    return len(_WORD.findall(text))
