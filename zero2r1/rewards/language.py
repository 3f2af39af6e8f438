"""Language consistency: the share of a thinking text's words that belong to the question's language.

What counts as a word is in `words.py`. Script decides where it can, because it sees every switch and costs
microseconds; a `LanguageDetector` decides between languages of one script, when one is given.

Deviations and limits: the paper does not say how it finds words or languages. Words inside code and formulas are not
seen. Without a detector two languages of one script (English and French) cannot be told apart.
"""

from collections.abc import Mapping
from types import MappingProxyType

from zero2r1.rewards.detect import LanguageDetector
from zero2r1.rewards.words import count_scripts, count_words, names_in, prose

__all__ = ["SCRIPTS", "count_words", "language_consistency", "language_share", "make_detector"]

SCRIPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "zh": ("han",), "ja": ("han", "kana"), "ko": ("hangul",), "el": ("greek",), "he": ("hebrew",),
        **dict.fromkeys(("ru", "uk", "bg", "sr", "mk", "be", "kk"), ("cyrillic",)),
        **dict.fromkeys(("ar", "fa", "ur"), ("arabic",)),
        **dict.fromkeys(("hi", "mr", "ne"), ("devanagari",)),
        **dict.fromkeys(
            ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "ro", "hu", "tr", "id"),
            ("latin",),
        ),
    }
)  # fmt: skip
"""Scripts a language is written in, by ISO 639-1 code."""


def make_detector(*languages: str) -> LanguageDetector | None:
    """A detector for a run in these languages, or None when their scripts tell them apart (English and Chinese).

    Raises:
        KeyError: the script of a language is not known.
    """
    detector = LanguageDetector(languages, SCRIPTS)
    return detector if any(detector.rivals(language) for language in languages) else None


def language_share(
    text: str, language: str, *, question: str = "", detector: LanguageDetector | None = None
) -> float | None:
    """Share of the words of a text that are of the target language.

        share = Num(Words_target) / Num(Words)

    Args:
        text: the thinking.
        language: ISO 639-1 code, a key of `SCRIPTS`.
        question: names in it do not count, in neither number.
        detector: decides between languages of one script; without one the script decides.

    Returns:
        a number in [0, 1], or None when the text has no words at all.

    Raises:
        KeyError: the script of the language is not known.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), first RL stage, language consistency reward.
    """
    scripts = SCRIPTS[language]
    text = prose(text, names_in(question, scripts))
    words = count_scripts(text)
    num_words = sum(words.values())
    if num_words == 0.0:
        return None
    num_target = sum(words.get(script, 0.0) for script in scripts)
    if detector is not None and num_target:
        num_target -= detector.num_foreign_words(text, language)
    return max(0.0, num_target) / num_words


def language_consistency(
    text: str, language: str, *, question: str = "", detector: LanguageDetector | None = None
) -> float:
    """The language consistency reward of a thinking text: `language_share`, and 1.0 for a text without words.

    Args:
        text: the thinking.
        language: ISO 639-1 code, a key of `SCRIPTS`.
        question: names in it do not count.
        detector: decides between languages of one script.

    Raises:
        KeyError: the script of the language is not known.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), first RL stage, language consistency reward. Ours: a text without words
    (formulas only) is neutral, because it mixes nothing.
    """
    share = language_share(text, language, question=question, detector=detector)
    return 1.0 if share is None else share
