"""Cold-start rewriting: a raw R1-Zero trace becomes a first-person, readable one with a summary.

The paper lets people and DeepSeek-V3 rewrite traces; here a rule does it, so that a laptop needs no second model:
an opening that understands the question, the trace's own steps, a first-person close, and a summary that repeats the
answer in a box, all in the language of the question. A program, or an answer in prose, is the
summary as it is. Faithful by construction: no step is added, removed or changed.

What it does not do: translate a mixed trace (the language filter drops those instead), or improve wrong reasoning.
"""

from zero2r1.core.dialogue import Reply, last_boxed
from zero2r1.core.types import Prompt

OPENING = {"en": "I work this out.", "zh": "我来算。"}
CLOSING = {"en": "I get {answer}.", "zh": "我得到{answer}。"}
SUMMARY = {"en": "The answer is \\boxed{{{answer}}}.", "zh": "答案是\\boxed{{{answer}}}。"}


def first_person(prompt: Prompt, thinking: str, answer: str) -> Reply:
    """A readable reply in the R1 dialect from a trace and its final answer.

    Ours: the wording. Source: DeepSeek-R1, cold start: first person, starts by comprehending the problem, language of
    the question, a summary at the end of each response.
    Raises KeyError for a language without wording (`en` and `zh` have one).
    """
    steps = " ".join(thinking.split())
    if not prompt.answer_kind.is_boxed:
        return Reply(thinking=f"{OPENING[prompt.language]}\n{steps}", answer=last_boxed(answer), summary=answer)
    lines = (OPENING[prompt.language], steps, CLOSING[prompt.language].format(answer=answer))
    return Reply(
        thinking="\n".join(lines),
        answer=answer,
        summary=SUMMARY[prompt.language].format(answer=answer),
    )
