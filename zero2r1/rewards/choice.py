"""Which of few was chosen: one letter, whatever its dress, or one word.

    B    (B)    B.    \\textbf{(B)}\\ 42    选B    option B    B. Paris

The text of the option may follow its letter as long as it names no other option.

What is not here: comparison (`math_answer.py`), and the texts of the options. A question does not hand them over, so a
letter with the text of another option is taken for that letter.
"""

import re
import unicodedata

from zero2r1.rewards.numerals import undress
from zero2r1.rewards.tidy import packed

CHOICE_DRESS = " \t\n.!:,;()[]{}【】「」\"'“”"
CHOICE_LEAD_IN = re.compile(r"(?:option|choice|选项|选择|选)\s*[:(]?\s*(?=\S)", re.IGNORECASE)
CHOICE_WITH_TEXT = re.compile(r"[(\[]?([A-Za-z])\s*(?:[)\]]|[.:、]|\)\s*[.:])\s*(\S.*)", re.DOTALL)
OTHER_CHOICE = re.compile(r"(?<![A-Za-z])(?:[A-Z](?![A-Za-z])|[a-z]\s*(?:[).]|$))|\bnot\b|n't\b|[不非没]")
ALTERNATIVES = re.compile(r"\b(?:or|and|either|maybe)\b|[或和]|还是|∨")
DRESSED = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|boldsymbol|bf|rm)\s*\{([^{}]*)\}")
SPACES = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~")


def read_choice(text: str) -> tuple[str, str]:
    """The letter or word that is chosen, in lower case, and the text of the option when it is written too.

    Args:
        text: an answer or a reference; what is no choice comes back as it is and equals no letter.
    """
    said = undress(SPACES.sub(" ", DRESSED.sub(r"\1", undress(unicodedata.normalize("NFKC", text)))))
    if (lead_in := CHOICE_LEAD_IN.match(said)) is not None:
        said = said[lead_in.end() :]
    if (lettered := CHOICE_WITH_TEXT.fullmatch(said.strip())) is not None:
        option = lettered[2].strip(CHOICE_DRESS)
        if option and not OTHER_CHOICE.search(option) and not ALTERNATIVES.search(option):
            return lettered[1].casefold(), packed(option).casefold()
    bare = said.strip(CHOICE_DRESS) or said
    if (lead_in := CHOICE_LEAD_IN.match(bare)) is not None:
        bare = bare[lead_in.end() :].strip(CHOICE_DRESS)
    return undress(bare).casefold(), ""
