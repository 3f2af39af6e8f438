"""Expressions brought into one way of writing before they are read: spacing dropped, synonyms of LaTeX made one.

A system of equations becomes a list, and the words that a parameter is a whole number go.

What is not here: what an expression means. Nothing is dropped that could change it: words stay words.
"""

import re
import unicodedata
from types import MappingProxyType

SYMBOLS = MappingProxyType(
    {
        "**": "^",
        "<=": "\\le ",
        ">=": "\\ge ",
        "!=": "\\neq ",
        "π": "\\pi ",
        "∞": "\\infty ",
        "×": "\\times ",
        "·": "\\cdot ",
        "÷": "\\div ",
        "²": "^{2}",
        "³": "^{3}",
        "√": "\\sqrt ",
        "∅": "\\emptyset ",
        "∪": "\\cup ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "≠": "\\neq ",
        "∈": "\\in ",
        "±": "\\pm ",
        "θ": "\\theta ",
        "α": "\\alpha ",
        "β": "\\beta ",
        "λ": "\\lambda ",
        "ℝ": "\\mathbb{R}",
        "\\varnothing": "\\emptyset",
    }
)
SQUARE_ROOT = re.compile(r"\\?sqrt\s*\(([^()]*)\)")
ASCII_NAMES = re.compile(
    r"(?<![\\A-Za-z])(pi|sqrt|arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|theta|alpha|beta|lambda|infty|infinity|inf|oo)"
    r"(?![A-Za-z])"
)
INFINITIES = ("oo", "inf", "infinity")
DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|limits|qquad|quad|[Bb]ig{1,2}[lr]?)(?![A-Za-z])|(?<!\\)\\[,;:!> ]|~"
)
WORDS = re.compile(r"\\(?:text|textrm|textbf|mbox|mathrm|mathbf|mathit|boldsymbol|operatorname)\s*\{([^{}\\]*)\}")
COMMANDS = tuple(
    (re.compile(rf"\\(?:{names})(?![A-Za-z])"), replacement)
    for names, replacement in (
        ("dfrac|tfrac|cfrac", r"\\frac"),
        ("cdot|times|ast", "*"),
        ("div", "/"),
        ("leq?|leqslant", r"\\le "),
        ("geq?|geqslant", r"\\ge "),
        ("lt", "<"),
        ("gt", ">"),
        ("neq?", r"\\neq "),
        ("lbrace", r"\\{"),
        ("rbrace", r"\\}"),
        ("langle", "("),
        ("rangle", ")"),
        ("lvert|rvert|vert|mid", "|"),
        ("lor|vee", " or "),
        ("land|wedge", " and "),
        ("bigcup", r"\\cup "),
        ("mathbb\\s*\\{?R\\}?|R|Reals|reals", r"\\RR "),
        ("arcsec|arccsc|sgn", r"\\unknown "),
    )
)
OPENING, CLOSING = "([{", ")]}"
OPERATORS = re.compile(
    r"(?<![A-Za-z\\])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|lg|exp)(?![A-Za-z])"
)
SYSTEM = re.compile(
    r"(?:\\begin\{cases\}|\\\{\s*\\begin\{(?:array|aligned)\}(?:\{[lcr]+\})?)([^&]*)\\end\{(?:cases|array|aligned)\}(?:\s*\.)?"
)
WHOLE_PARAMETER = re.compile(
    r"\s*(?:,|;|\bwhere|\bfor)?\s*\(?\s*([a-z])\s*\\in\s*(?:\\mathbb\s*\{?\s*Z\s*\}?|\\Z|ℤ)\s*\)?\s*$"
)
OVER = re.compile(r"\{([^{}]*?)\\over(?![A-Za-z])([^{}]*)\}")
ACCENTED = re.compile(r"\\(?:vec|overrightarrow|hat|bar|overline)\s*\{([A-Za-z]{1,2})\}")


def latexed(text: str) -> str:
    """An expression typed without LaTeX, `pi/4` or `2*x**2`, as LaTeX would write it; LaTeX stays as it is."""
    for symbol, latex in SYMBOLS.items():
        text = text.replace(symbol, latex)
    text = SQUARE_ROOT.sub(r"\\sqrt{\1}", text)
    return ASCII_NAMES.sub(lambda name: "\\infty" if name[1] in INFINITIES else f"\\{name[1]}", text)


def tidy(text: str) -> str:
    """One spelling for what has several: fractions, products, comparisons, brackets, words out of `\\text{}`."""
    text = DROPPED.sub(" ", latexed(text))
    text = OVER.sub(r"\\frac{\1}{\2}", WORDS.sub(r" \1 ", text))
    for command, replacement in COMMANDS:
        text = command.sub(replacement, text)
    text = OPERATORS.sub(r"\\\1", ACCENTED.sub(r"\1", text))
    text = SYSTEM.sub(lambda rows: ", ".join(rows[1].strip().removesuffix("\\\\").split("\\\\")), text)
    text = WHOLE_PARAMETER.sub(
        lambda tail: "" if re.search(rf"(?<![A-Za-z\\]){tail[1]}", text[: tail.start()]) else tail[0], text
    )
    return " ".join(text.replace("{,}", ",").split())


def packed(text: str) -> str:
    """The text without any white space."""
    return "".join(text.split())


def split(text: str, separator: str) -> list[str]:
    """The pieces between separators (a regular expression) outside every bracket."""
    pieces, depth, start, position = [], 0, 0, 0
    pattern = re.compile(separator)
    while position < len(text):
        character = text[position]
        if character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        elif depth <= 0 and (found := pattern.match(text, position)) is not None and found.end() > position:
            pieces.append(text[start:position])
            start = position = found.end()
            continue
        position += 1
    return [piece.strip() for piece in [*pieces, text[start:]]]


def is_enclosed(text: str) -> bool:
    """Whether the first bracket closes at the very end."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0:
            return position == len(text) - 1
    return False


def hidden_character(text: str) -> str:
    """The name of the first character that has no place in an answer, or "".

    Ours: invisible characters, digits of other scripts and mathematical look-alikes can show a reader one answer and a
    parser another. Punctuation and letters of a language are fine.
    """
    for character in text:
        category = unicodedata.category(character)
        is_hidden = category in ("Cf", "Co", "Cs", "Cn") or (category == "Cc" and character not in "\t\n\r")
        is_alike = not character.isascii() and (category in ("Nd", "No") and character not in "²³")
        is_styled = 0x1D400 <= ord(character) <= 0x1D7FF
        if is_hidden or is_alike or is_styled:
            return unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return ""
