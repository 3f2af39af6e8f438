"""The layout of a thinking text: code blocks, long paragraphs and markdown, which rejection sampling filters out.

Source: DeepSeek-R1 (arXiv 2501.12948v2), rejection sampling: chains of thought with mixed languages, long paragraphs
and code blocks are left out; the style asked of thinking is conversational, in short paragraphs, without markdown.

Deviations: the paper defines none of the three. What is not here: language (`language.py`), loops (`repetition.py`),
and whether the text is pleasant to read.
"""

import re

from zero2r1.rewards.words import CHARACTERS, NOT_PROSE

CODE_BLOCK = re.compile(r"```|^[ ]{0,3}~~~|<(?:pre|code)\b[^<>\n]{0,60}>", re.MULTILINE)
BLANK_LINE = re.compile(r"\n[ \t\r\f\v]*\n")
SPACELESS = re.compile(f"{CHARACTERS['han'][0].pattern}|{CHARACTERS['kana'][0].pattern}")
"""Scripts whose words no space parts."""

HEADING = re.compile(r"[ ]{0,3}#{1,6}[ \t]+\S")
BOLD = re.compile(r"(?<![\w*])\*\*(?=[^\s*])[^*\n]{0,200}[^\W\d_]{2}[^*\n]{0,200}(?<=[^\s*])\*\*(?!\*)")
RULE = re.compile(r"[ ]{0,3}(?:-{3,}|\*{3,}|_{3,})[ \t]*")
TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{3,}:?[ \t]*(?:\|[ \t]*:?-{3,}:?[ \t]*)+\|?[ \t]*")
LINK = re.compile(r"\[[^\[\]\n]{1,200}\]\(https?://[^()\s]{1,500}\)")
LIST_ITEM = re.compile(r"[ \t]{0,8}(?:[-*+•]|[0-9]{1,2}[.)])[ \t]+(?=.{0,300}[^\W\d_]{2})")
"""A bullet or a number before an item with a word in it: `- 5 + 3` is a difference."""


def has_code_block(text: str) -> bool:
    """True when a text opens a block of code: a fence, closed or not, or the tags `<pre>` and `<code>`.

    One name in single backquotes is no block.
    """
    return CODE_BLOCK.search(text) is not None


def paragraph_words(text: str) -> float:
    """Words of one paragraph: what spaces part and has a letter or digit, with Han and kana counted by characters.

        words = spaced words + Han / 1.5 + kana / 2

    Ours: a length that is fair to languages without spaces; numbers and formulas are read as well, so they count here.
    """
    spaced = SPACELESS.sub(" ", text) if not text.isascii() else text
    words = float(sum(any(map(str.isalnum, word)) for word in spaced.split()))
    if spaced is text:
        return words
    for script in ("han", "kana"):
        pattern, characters_a_word = CHARACTERS[script]
        words += sum(map(len, pattern.findall(text))) / characters_a_word
    return words


def longest_paragraph_words(text: str) -> float:
    """`paragraph_words` of the longest paragraph; blank lines part paragraphs. 0 for a text without words.

    Ours: the paper drops "long paragraphs" without a length.
    """
    return max(map(paragraph_words, BLANK_LINE.split(text)))


def markdown_share(text: str) -> float:
    """Share of the lines of a text, empty ones left out, that are written in markdown.

        share = lines with a heading, bold, list item, table, rule or link / lines

    Formulas and code are taken out first, so `*` and `_` of mathematics are no markdown. One list item alone is a
    sentence that begins with a number; two make a list. A table is a rule between columns and the rows around it.

    Ours: the paper asks for thinking without markdown and does not measure it.
    """
    text = NOT_PROSE.sub(lambda found: found[0] if found[0].startswith("http") else " ", text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return 0.0
    items = [LIST_ITEM.match(line) is not None for line in lines]
    has_list = sum(items) > 1
    has_table = any(TABLE_RULE.fullmatch(line) for line in lines)
    marked = sum(
        _is_marked(line) or (has_list and is_item) or (has_table and line.count("|") > 1)
        for line, is_item in zip(lines, items, strict=True)
    )
    return marked / len(lines)


def has_markdown(text: str) -> bool:
    """True when any line is written in markdown; see `markdown_share`."""
    return markdown_share(text) > 0.0


def layout_problem(text: str, *, max_paragraph_words: int, allow_markdown: bool = True) -> str:
    """The first rule the layout of a thinking text breaks: `code`, `paragraph` or `markdown`; empty for none.

    Args:
        text: the thinking.
        max_paragraph_words: longest paragraph allowed, in words.
        allow_markdown: False where the style asks for plain conversation.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), rejection sampling. Ours: the order.
    """
    if has_code_block(text):
        return "code"
    if longest_paragraph_words(text) > max_paragraph_words:
        return "paragraph"
    return "markdown" if not allow_markdown and has_markdown(text) else ""


def _is_marked(line: str) -> bool:
    if RULE.fullmatch(line) or TABLE_RULE.fullmatch(line):
        return True
    return any(pattern.search(line) for pattern in (BOLD, LINK)) or HEADING.match(line) is not None
