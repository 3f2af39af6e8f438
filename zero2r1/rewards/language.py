"""Language consistency: the share of a thinking text's words that belong to the question's language.

Words are told apart by script, because no language detector sees a switch inside a sentence. Code, formulas, LaTeX
commands, tags, links and digits are no words.

Deviations and limits: the paper does not say how it finds words; here a word is a run of at least two letters of an
alphabet (so that variables do not count), 1.5 Han characters, or 2 kana or hangul. Two languages of one script (English
and French) cannot be told apart.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

NOT_WORDS = re.compile(
    r"```.*?```|`[^`\n]{1,300}`"
    r"|\$\$[^$]+\$\$|\$[^$\n]{1,300}\$|\\\((?:[^\\\n]|\\[^()\n])*\\\)|\\\[(?:[^\\]|\\[^\[\]])*\\\]"
    r"|\\[A-Za-z]+|<[^<>\n]{1,60}>|https?://\S+",
    re.DOTALL,
)
"""What holds no words. Every alternative stops at its own opening sign, so that no text takes quadratic time."""

ALPHABETS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "latin": re.compile(r"(?:[A-Za-zÀ-ÖØ-öø-ɏ]['’]?){2,}"),
        "cyrillic": re.compile(r"[\u0400-\u052f]{2,}"),
        "greek": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{2,}"),
        "arabic": re.compile(r"[\u0620-\u065f\u066e-\u06d3\u0750-\u077f]{2,}"),
        "hebrew": re.compile(r"[\u0590-\u05ff]{2,}"),
        "devanagari": re.compile(r"[\u0900-\u0963\u0970-\u097f]{2,}"),
    }
)
CHARACTERS: Mapping[str, tuple[re.Pattern[str], float]] = MappingProxyType(
    {
        "han": (re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"), 1.5),
        "kana": (re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9d]"), 2.0),
        "hangul": (re.compile("[\uac00-\ud7a3\u1100-\u11ff]"), 2.0),
    }
)
"""Characters of a script that make one word."""

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


def count_words(text: str) -> dict[str, float]:
    """Number of words by script in what is left of a text without code, formulas, commands, tags and links.

    Args:
        text: any text.

    Returns:
        words by script name; only scripts that occur. Han characters count 1/1.5 words each, kana and hangul 1/2.
    """
    text = NOT_WORDS.sub(" ", text)
    if text.isascii():
        num_latin = len(ALPHABETS["latin"].findall(text))
        return {"latin": float(num_latin)} if num_latin else {}
    words = {script: float(len(pattern.findall(text))) for script, pattern in ALPHABETS.items()}
    for script, (pattern, characters_a_word) in CHARACTERS.items():
        words[script] = len(pattern.findall(text)) / characters_a_word
    return {script: count for script, count in words.items() if count}


def language_share(text: str, language: str) -> float | None:
    """Share of the words of a text that are of the target language.

        share = Num(Words_target) / Num(Words)

    Args:
        text: the thinking.
        language: ISO 639-1 code, a key of `SCRIPTS`.

    Returns:
        a number in [0, 1], or None when the text has no words at all.

    Raises:
        KeyError: the script of the language is not known.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), first RL stage, language consistency reward.
    """
    scripts = SCRIPTS[language]
    words = count_words(text)
    num_words = sum(words.values())
    if num_words == 0.0:
        return None
    return sum(words.get(script, 0.0) for script in scripts) / num_words


def language_consistency(text: str, language: str) -> float:
    """The language consistency reward of a thinking text: `language_share`, and 1.0 for a text without words.

    Args:
        text: the thinking.
        language: ISO 639-1 code, a key of `SCRIPTS`.

    Raises:
        KeyError: the script of the language is not known.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), first RL stage, language consistency reward. Ours: a text without words
    (formulas only) is neutral, because it mixes nothing.
    """
    share = language_share(text, language)
    return 1.0 if share is None else share
