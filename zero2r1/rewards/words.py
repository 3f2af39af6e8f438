"""What counts as a word, by script, and what does not: code, formulas, numbers, units, labels, identifiers and names.

The paper leaves open how the words of its language reward are found; docs/decisions/0006-what-counts-as-a-word.md
has the rules and the reasons. What is left out is neutral: it stands neither above nor below the fraction bar.

What is not here: which words are of the target language (`language.py`), and languages of one script (`detect.py`).
"""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

NOT_PROSE = re.compile(
    r"```.*?```|`[^`\n]{1,300}`"
    r"|\$\$[^$]+\$\$|\$(?=[^\s$])[^$\n]{0,299}(?<=[^\s$])\$(?![0-9])|\$ [^$\n]{1,300} \$"
    r"|\\\((?:[^\\\n]|\\[^()\n])*\\\)|\\\[(?:[^\\]|\\[^\[\]])*\\\]"
    r"|\\[A-Za-z]+|<[^<>\n]{1,60}>|https?://\S+",
    re.DOTALL,
)
"""Code, formulas, commands, tags and links. Every alternative stops at its own opening sign, so that no text takes
quadratic time; a dollar before a price opens no formula."""

_LETTER = "A-Za-zÀ-ÖØ-öø-ɏ"
_UNIT = (
    r"(?:mm|cm|dm|km|ft|yd|mi|kg|mg|lbs?|oz|ml|cl|kmh|kph|mph|rpm|hrs?|min|mins|secs?|ms|kw|kwh|hz|khz|mhz|ghz|kb|mb|gb"
    r"|tb|usd|eur|rmb|cny|jpy|am|pm|deg|rad|pa|kpa|mol|kj|kcal|cal|ev|st|nd|rd|th)"
)
_OPERATOR = (
    r"(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|log|ln|lg|exp|sqrt|gcd|lcm|mod|div|det|lim|max|min|abs|arg|floor|ceil"
    r"|d[xytz]"
)
NOT_A_WORD = re.compile(
    rf"(?<=[0-9])\s{{0,2}}(?i:{_UNIT})(?:\s?/\s?(?:[hs]|{_UNIT}))?(?![{_LETTER}])"
    rf"|(?<=[0-9])[A-Za-z]{{1,3}}(?![{_LETTER}])"
    rf"|(?<![{_LETTER}_])(?:"
    rf"(?:{_OPERATOR}|[A-Za-z]{{1,3}}(?=\s?[=^*+]))(?![{_LETTER}])"
    rf"|[A-Za-z]+(?:[0-9][A-Za-z0-9]*|(?:_[A-Za-z0-9]+){{1,2}})(?![{_LETTER}_])"
    rf"|[a-z]+(?:[A-Z][a-z]+){{1,2}}(?![{_LETTER}])"
    rf"|(?<![{_LETTER}] )[A-Z]{{2,5}}(?![{_LETTER}'’])(?! [{_LETTER}])"
    r")"
    rf"|(?<=[=^*+])\s?[A-Za-z]{{1,3}}(?![{_LETTER}])"
)
"""Units and ordinal endings after a number, letters at an operator, names of functions, identifiers, and labels.

A label is two to five capitals that stand alone (`三角形ABC`); beside another word they are a word in capitals, so
that shouting hides no language. An identifier has at most three parts, so that a sentence is no identifier."""

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9d"
HANGUL = "\uac00-\ud7a3\u1100-\u11ff"

ALPHABETS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "latin": re.compile(rf"(?:[{_LETTER}]['’]?){{2,}}"),
        "cyrillic": re.compile(r"[\u0400-\u052f]{2,}"),
        "greek": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{2,}"),
        "arabic": re.compile(r"[\u0620-\u065f\u066e-\u06d3\u0750-\u077f]{2,}"),
        "hebrew": re.compile(r"[\u0590-\u05ff]{2,}"),
        "devanagari": re.compile(r"[\u0900-\u0963\u0970-\u097f]{2,}"),
    }
)
"""A word of an alphabet: at least two letters, because one letter is a variable."""

RARER = re.compile("[\u0370-\u1fff]")
"""A letter of an alphabet other than Latin; without one, five searches are saved."""

CHARACTERS: Mapping[str, tuple[re.Pattern[str], float]] = MappingProxyType(
    {
        "han": (re.compile(f"[{HAN}]+"), 1.5),
        "kana": (re.compile(f"[{KANA}]+"), 2.0),
        "hangul": (re.compile(f"[{HANGUL}]+"), 2.0),
    }
)
"""Runs of a script, and how many of its characters make one word."""

CLAUSE = re.compile(r"[^。．！？!?\n，、,;；:：.]+")
JAPANESE_SHARE = 0.2
"""Share of kana from which the Han characters of a clause are Japanese. Ours: Japanese prose has about half of each,
and a Chinese clause that quotes one kana stays Chinese."""

LONGEST_NAME: Mapping[str, int] = MappingProxyType(
    {"han": 4, "kana": 8, "hangul": 5, "arabic": 12, "hebrew": 12, "devanagari": 12}
)
"""Characters of a name in a script without capitals. Ours: longer runs are phrases."""

POSSESSIVE = re.compile(r"['’]s?$")


def prose(text: str, names: Collection[str] = ()) -> str:
    """A text without what is no word: code, formulas, commands, tags, links, units, identifiers, labels and names.

    Args:
        text: any text.
        names: words left out wherever they stand as whole words, from `names_in`.

    Ours: the paper does not say what it leaves out.
    """
    text = NOT_A_WORD.sub(" ", NOT_PROSE.sub(" 0 ", text))  # a formula is a number to the unit after it
    if not names:
        return text
    for pattern in (*ALPHABETS.values(), *(runs for runs, _ in CHARACTERS.values())):
        if not any(pattern.match(name) for name in names):
            continue
        text = pattern.sub(lambda word: " " if POSSESSIVE.sub("", word[0]) in names else word[0], text)
    return text


def names_in(question: str, scripts: Collection[str]) -> frozenset[str]:
    """Words of a question that are names to a text in other scripts: `Alice` in a Chinese one, 小明 in an English one.

    Args:
        question: what was asked.
        scripts: those of the target language; names are words of any other script.

    Returns:
        capitalised words of the alphabets with capitals, and short whole runs of the scripts without.

    Ours: only what the question itself names is a name, so a policy cannot make one up.
    """
    found: set[str] = set()
    if question.isascii() and "latin" in scripts:
        return frozenset()
    question = NOT_PROSE.sub(" ", question)
    for script, pattern in {**ALPHABETS, **{script: runs for script, (runs, _) in CHARACTERS.items()}}.items():
        if script in scripts:
            continue
        for word in pattern.findall(question):
            longest = LONGEST_NAME.get(script)
            if word[0].isupper() if longest is None else len(word) <= longest:
                found.add(POSSESSIVE.sub("", word))
    return frozenset(found)


def count_words(text: str, names: Collection[str] = ()) -> dict[str, float]:
    """Number of words by script in the prose of a text.

    Args:
        text: any text.
        names: words that do not count, from `names_in`.

    Returns:
        words by script name, only scripts that occur. 1.5 Han characters are one word, and so are 2 kana or hangul. Han
        characters in a clause with kana are Japanese and counted under `kana`, at the rate of Han.
    """
    return count_scripts(prose(text, names))


def count_scripts(text: str) -> dict[str, float]:
    """`count_words` of a text that is prose already."""
    if text.isascii():
        num_latin = len(ALPHABETS["latin"].findall(text))
        return {"latin": float(num_latin)} if num_latin else {}
    alphabets = ALPHABETS if RARER.search(text) else {"latin": ALPHABETS["latin"]}
    words = {script: float(len(pattern.findall(text))) for script, pattern in alphabets.items()}
    for script, (pattern, characters_a_word) in CHARACTERS.items():
        words[script] = sum(map(len, pattern.findall(text))) / characters_a_word
    if words["kana"] and words["han"]:
        japanese = _num_japanese_han(text) / CHARACTERS["han"][1]
        words["han"] -= japanese
        words["kana"] += japanese
    return {script: count for script, count in words.items() if count > 0.0}


def _num_japanese_han(text: str) -> int:
    """Han characters in clauses of which at least `JAPANESE_SHARE` is kana."""
    total = 0
    for clause in CLAUSE.findall(text):
        han, kana = (sum(map(len, CHARACTERS[script][0].findall(clause))) for script in ("han", "kana"))
        if kana >= JAPANESE_SHARE * (han + kana):
            total += han
    return total
