"""A well-formed reply from thinking and an answer, in each dialect.

Used for gold replies (`validate`) and for the tiny base's corpus. What a model writes is read by `core/dialogue.py`.
"""

from zero2r1.core.dialogue import Dialect, Reply, render

SUMMARY = {"en": "The answer is {answer}.", "zh": "答案是{answer}。"}
FENCE = "```"


def summary_sentence(answer: str, language: str) -> str:
    """One sentence that names the answer, e.g. `The answer is 85.`."""
    return SUMMARY["zh" if language == "zh" else "en"].format(answer=answer)


def code_block(program: str) -> str:
    """A program as a fenced block; one that is already fenced, such as the files of a repair, stays as it is."""
    return program if program.startswith(FENCE) else f"{FENCE}python\n{program.rstrip()}\n{FENCE}"


def well_formed_code(thinking: str, program: str, *, dialect: Dialect) -> str:
    """The reply with a program as its answer: between tags for `r1_zero`, as the summary for `r1`.

    A box cannot hold a program (its braces need not balance), so there is none.
    """
    block = code_block(program)
    if dialect == Dialect.R1_ZERO:
        return render(Reply(thinking=thinking, answer=f"\n{block}\n", summary=None), dialect)
    if dialect == Dialect.R1:
        return render(Reply(thinking=thinking, answer=None, summary=block), dialect)
    return render(Reply(answer=block), dialect)


def well_formed(thinking: str, answer: str, *, language: str, dialect: Dialect) -> str:
    """The reply as text: tags for `r1_zero`, thinking and a boxed answer for `r1`, one sentence for `plain`."""
    if dialect == Dialect.R1_ZERO:
        return render(Reply(thinking=thinking, answer=answer, summary=None), dialect)
    boxed = summary_sentence(rf"\boxed{{{answer}}}", language)
    if dialect == Dialect.R1:
        return render(Reply(thinking=thinking, answer=answer, summary=boxed), dialect)
    return boxed
