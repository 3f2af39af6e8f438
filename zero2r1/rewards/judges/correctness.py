"""Is an answer correct? Asked of a language model that sees the question, a reference and the answer.

For questions whose answers no rule can compare. The verdict is right, wrong or error: a judge that is out of reach, or
whose reply cannot be read, never makes an answer wrong. What the answer's own writer did (no answer behind the
thinking, an answer beyond any size) is wrong and costs no question.

What is not here: rule-based comparison (`rewards/math_answer.py`) and the pairwise judge (`preference.py`).
"""

from functools import partial

from zero2r1.core.types import Prompt, Verdict, content_id
from zero2r1.rewards.answers import THINK_CLOSE, THINK_OPEN, Extraction
from zero2r1.rewards.judges.parsing import read_correctness
from zero2r1.rewards.judges.prompts import correctness_messages, seal
from zero2r1.rewards.judges.record import JudgeStore, Question
from zero2r1.rewards.judges.voice import Voice
from zero2r1.rewards.pool import Grade

MAX_ANSWER_CHARS = 20_000
"""Ours: the judge's context is finite."""


class CorrectnessJudge:
    """Judges answers one at a time. Usable from any thread.

    Args:
        voice: the model that is asked.
        store: keeps what was asked and remembers it; in memory when none is given.
        max_answer_chars: a longer answer is wrong and is not shown to the judge.
    """

    def __init__(
        self, voice: Voice, store: JudgeStore | None = None, *, max_answer_chars: int = MAX_ANSWER_CHARS
    ) -> None:
        self.voice = voice
        self.store = store or JudgeStore()
        self.max_answer_chars = max_answer_chars

    def judge(self, question: str, reference: str, answer: str, *, question_id: str = "", answer_id: str = "") -> Grade:
        """The verdict on one answer.

        Args:
            question: the user's request.
            reference: a good answer, the more of its reasoning the better.
            answer: the final part of a reply, without its thinking.
            question_id, answer_id: for the record; hashes of the texts when empty.

        Returns:
            right, wrong with the judge's analysis in short, or error with the reason.
        """
        if not answer.strip():
            return Grade(Verdict.WRONG, "the answer is empty")
        if len(answer) > self.max_answer_chars:
            return Grade(Verdict.WRONG, f"the answer is longer than {self.max_answer_chars} characters")
        texts = (question, reference, answer)
        case = seal(*texts)
        asked = Question(
            judge="correctness",
            messages=correctness_messages(*texts, case=case),
            seed=0,
            question_id=question_id or content_id(question),
            answer_ids=(answer_id or content_id(answer),),
        )
        record = self.store.ask(self.voice, asked, partial(read_correctness, case=case))
        verdict = Verdict(record.verdict)
        return Grade(verdict, "" if verdict is Verdict.RIGHT else record.reason)


def judged_grade(prompt: Prompt, text: str, judge: CorrectnessJudge, *, prefilled: bool = False) -> Grade:
    """The verdict on a reply to a prompt whose reference is for a judge to compare with.

    Args:
        prompt: question and reference.
        text: the reply, with its thinking or without.
        judge: is asked about the part after the thinking.
        prefilled: True when the prompt already ended with `<think>`.
    """
    part = final_part(text, prefilled=prefilled)
    if part.answer is None:
        return Grade(Verdict.WRONG, part.problem)
    return judge.judge(asked_by(prompt), prompt.reference, part.answer, question_id=prompt.id)


def final_part(text: str, *, prefilled: bool = False) -> Extraction:
    """What a reply says after its thinking, or why there is nothing; a reply without thinking is taken whole.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), RL stage 2: helpfulness is judged on the final summary alone.
    """
    end = text.rfind(THINK_CLOSE)
    part = text if end < 0 else text[end + len(THINK_CLOSE) :]
    if THINK_OPEN in part or (end < 0 and prefilled):
        return Extraction(None, "the thinking never ends, so nothing stands after it")
    return Extraction(part.strip()) if part.strip() else Extraction(None, "nothing stands after the thinking")


def asked_by(prompt: Prompt) -> str:
    """The question as a judge reads it: the user's turn, or the whole dialogue when there is more than one turn."""
    if len(prompt.messages) == 1:
        return prompt.question
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
