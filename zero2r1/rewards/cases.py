"""A small corpus of replies with the verdict each must get: honest ones, clumsy ones, and ones that try to cheat.

For showing what a reward says, and as a regression test. English and Chinese, all dialects, every kind of answer.

What is not here: quantity. The adversarial tests generate thousands of such replies by rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, Verdict

RIGHT, WRONG = Verdict.RIGHT, Verdict.WRONG
NUMBER, EXPRESSION, COUNTDOWN = AnswerKind.NUMBER, AnswerKind.EXPRESSION, AnswerKind.COUNTDOWN
SEQUENCE, CHOICE = AnswerKind.SEQUENCE, AnswerKind.CHOICE

Row = tuple[str, AnswerKind, str, str, Verdict]

ANSWERS: tuple[Row, ...] = (
    # what it shows, kind, reference, final answer inside a well-formed reply, verdict
    ("the plain answer", NUMBER, "42", "42", RIGHT),
    ("a leading plus", NUMBER, "42", "+42", RIGHT),
    ("thousands separator", NUMBER, "1234", "1,234", RIGHT),
    ("full-width digits", NUMBER, "42", "４２", RIGHT),
    ("unicode minus", NUMBER, "-7", "\u22127", RIGHT),
    ("a decimal with a trailing zero", NUMBER, "2.5", "2.50", RIGHT),
    ("a fraction for a decimal", NUMBER, "0.5", r"\frac{1}{2}", RIGHT),
    ("a sentence around it", NUMBER, "42", "The answer is 42.", RIGHT),
    ("a Chinese sentence around it", NUMBER, "42", "答案是42。", RIGHT),
    ("a box inside the tags", NUMBER, "42", r"\boxed{42}", RIGHT),
    ("a variable named", NUMBER, "42", "$x = 42$", RIGHT),
    ("another number", NUMBER, "42", "41", WRONG),
    ("a rounded fraction", NUMBER, "1/3", "0.333333", WRONG),
    ("two answers", NUMBER, "42", "41 or 42", WRONG),
    ("two answers in Chinese", NUMBER, "42", "41或42", WRONG),
    ("a list", NUMBER, "42", "40, 41, 42", WRONG),
    ("a range", NUMBER, "42", "41-43", WRONG),
    ("a false equation", NUMBER, "42", "41 = 42", WRONG),
    ("a chain of equations", NUMBER, "42", "x = 41 = 42", WRONG),
    ("per cent of it", NUMBER, "42", r"4200\%", WRONG),
    ("the question again", NUMBER, "42", r"6 \cdot 7", WRONG),
    ("an unevaluated sum", NUMBER, "42", r"\sum_{k=1}^{6} 7", WRONG),
    ("a quotient not worked out", NUMBER, "42", "84/2", WRONG),
    ("a factorial", NUMBER, "42", "42!", WRONG),
    ("a superscript", NUMBER, "42", "4²", WRONG),
    ("a set", NUMBER, "42", r"\{41, 42\}", WRONG),
    ("a multiple", NUMBER, "42", "42 million", WRONG),
    ("ten thousands in Chinese", NUMBER, "42", "42万", WRONG),
    ("a negation", NUMBER, "42", "not 42", WRONG),
    ("two boxes", NUMBER, "42", r"\boxed{41} \boxed{42}", WRONG),
    ("nothing", NUMBER, "42", " ", WRONG),
    ("a thousand digits", NUMBER, "42", "42" * 500, WRONG),
    ("a unit", NUMBER, "42", r"42\text{ km}", RIGHT),
    ("a Chinese number word", NUMBER, "42", "四十二", RIGHT),
    ("a percentage in words", NUMBER, "50%", "百分之五十", RIGHT),
    ("another unit", NUMBER, "42 km", "42 m", WRONG),
    ("a digit of another script", NUMBER, "42", "٤٢", WRONG),
    ("a set in another order", EXPRESSION, r"\{1,2\}", r"x=2 \text{ or } x=1", RIGHT),
    ("a set with one element more", EXPRESSION, r"\{1,2\}", r"\{1,2,3\}", WRONG),
    ("an inequality for an interval", EXPRESSION, r"(-\infty,3]", r"x \leq 3", RIGHT),
    ("an open end for a closed one", EXPRESSION, "[0,1]", "[0,1)", WRONG),
    ("coordinates swapped", EXPRESSION, "(1,2)", "(2,1)", WRONG),
    ("a matrix in other brackets", EXPRESSION, r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]", RIGHT),
    ("an equation rearranged", EXPRESSION, "y=2x+3", "2x-y+3=0", RIGHT),
    ("an equation times zero", EXPRESSION, "y=2x+3", "0(y-2x-3)=0", WRONG),
    ("arithmetic left undone", EXPRESSION, r"2\sqrt{3}", r"\sqrt{9+3}", WRONG),
    ("equal expressions", EXPRESSION, r"2\sqrt{3}", r"\sqrt{12}", RIGHT),
    ("typed without LaTeX", EXPRESSION, r"\frac{\pi}{4}", "pi/4", RIGHT),
    ("an unexpanded product", EXPRESSION, "x^2+2x+1", "(x+1)^2", RIGHT),
    ("plus or minus", EXPRESSION, r"2\sqrt{3}", r"\pm 2\sqrt{3}", WRONG),
    ("two expressions", EXPRESSION, r"2\sqrt{3}", r"2\sqrt{3} \text{ or } \sqrt{3}", WRONG),
    ("a value for an expression", EXPRESSION, r"2\sqrt{3}", "3.464102", WRONG),
    ("an unevaluated integral", EXPRESSION, r"\frac{x^2}{2}", r"\int x\,dx", WRONG),
    ("another base", EXPRESSION, "101_2", "101_3", WRONG),
    ("numbers in order", SEQUENCE, "3, 5, 8", "3，5，8", RIGHT),
    ("brackets around them", SEQUENCE, "3, 5, 8", "[3 5 8]", RIGHT),
    ("another order", SEQUENCE, "3, 5, 8", "8, 5, 3", WRONG),
    ("two orders", SEQUENCE, "3, 5, 8", "3, 5, 8, 8, 5, 3", WRONG),
    ("a letter in brackets", CHOICE, "B", "(b)", RIGHT),
    ("a word", CHOICE, "是", "是。", RIGHT),
    ("a letter with its text", CHOICE, "B", "B. Paris", RIGHT),
    ("two letters", CHOICE, "B", "A or B", WRONG),
    ("every letter", CHOICE, "B", "ABCD", WRONG),
    ("the numbers used once", COUNTDOWN, "24|3,5,3", "(3 + 5) × 3", RIGHT),
    ("with its result", COUNTDOWN, "24|3,5,3", "(3 + 5) * 3 = 24", RIGHT),
    ("the target itself", COUNTDOWN, "24|3,5,3", "24", WRONG),
    ("a number used twice", COUNTDOWN, "24|3,5,3", "3 * 3 + 5 * 3", WRONG),
    ("a false result", COUNTDOWN, "24|3,5,3", "3 + 5 + 3 = 24", WRONG),
    ("a division by zero", COUNTDOWN, "24|3,5,3", "5 / (3 - 3)", WRONG),
)  # fmt: skip

REPLIES: tuple[tuple[str, Dialect, bool, str, Verdict, float], ...] = (
    # what it shows, dialect, is <think> prefilled, reply to a question with the answer 42, verdict, format reward
    ("no thinking", Dialect.R1_ZERO, False, "<answer> 42 </answer>", RIGHT, 0.0),
    ("no tags", Dialect.R1_ZERO, False, "6*7=42, so the answer is 42.", WRONG, 0.0),
    ("only inside the thinking", Dialect.R1_ZERO, False, "<think> <answer> 42 </answer> </think>", WRONG, 0.0),
    ("thinking never ends", Dialect.R1_ZERO, False, "<think> 6*7 <answer> 42 </answer>", WRONG, 0.0),
    ("a second ending", Dialect.R1_ZERO, False, "<think> a </think> <answer> 42 </answer> </think>", WRONG, 0.0),
    ("an answer before the second ending", Dialect.R1_ZERO, False,
     "<think> a </think> <answer> 41 </answer> </think> <answer> 42 </answer>", WRONG, 0.0),
    ("two answer blocks", Dialect.R1_ZERO, False,
     "<think> a </think> <answer> 41 </answer> <answer> 42 </answer>", WRONG, 0.0),
    ("one answer twice", Dialect.R1_ZERO, False,
     "<think> a </think> <answer> 42 </answer> <answer> 42 </answer>", RIGHT, 0.0),
    ("an answer never closed", Dialect.R1_ZERO, False, "<think> a </think> <answer> 42", WRONG, 0.0),
    ("a prefilled opening", Dialect.R1_ZERO, True, "six sevens </think> <answer> 42 </answer>", RIGHT, 1.0),
    ("a prefilled opening repeated", Dialect.R1_ZERO, True, "<think> a </think> <answer> 42 </answer>", RIGHT, 0.0),
    ("a boxed summary", Dialect.R1, False, "<think>\nsix sevens\n</think>\n\nIt is \\boxed{42}.", RIGHT, 1.0),
    ("a boxed summary in Chinese", Dialect.R1, False, "<think>\n六个七\n</think>\n\n答案是\\boxed{42}。", RIGHT, 1.0),
    ("a box only in the thinking", Dialect.R1, False, "<think>\n\\boxed{42}\n</think>\n\nIt is 42.", WRONG, 1.0),
    ("two boxes that differ", Dialect.R1, False,
     "<think>\na\n</think>\n\n\\boxed{41} or \\boxed{42}", WRONG, 1.0),
    ("a box never closed", Dialect.R1, False, "<think>\na\n</think>\n\n\\boxed{42", WRONG, 1.0),
    ("a prefilled opening", Dialect.R1, True, "six sevens\n</think>\n\nIt is \\boxed{42}.", RIGHT, 1.0),
    ("prefilled, but the thinking never ends", Dialect.R1, True, "six sevens: \\boxed{42}", WRONG, 0.0),
    ("a sentence", Dialect.PLAIN, False, "Six sevens. The answer is 42.", RIGHT, 1.0),
    ("a sentence in Chinese", Dialect.PLAIN, False, "六个七。答案是42。", RIGHT, 1.0),
    ("two sentences", Dialect.PLAIN, False, "The answer is 41. The answer is 42.", WRONG, 1.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One reply and what a reward must say of it."""

    name: str
    prompt: Prompt
    text: str
    dialect: Dialect
    prefilled: bool
    verdict: Verdict
    """Of the final answer."""
    format: float
    """The format reward, 0 or 1."""

    @property
    def completion(self) -> Completion:
        """The reply as a policy would hand it over."""
        return Completion(
            prompt=self.prompt,
            sample=0,
            prompt_token_ids=(),
            token_ids=(),
            logprobs=(),
            text=self.text,
            finish=Finish.STOP,
            policy_version=0,
            weights_hash="0" * 16,
        )


def cases() -> tuple[Case, ...]:
    """Every case: the answers in a well-formed R1-Zero reply, each in English and in Chinese, then the replies."""
    return (*_answer_cases("en"), *_answer_cases("zh"), *_reply_cases())


def _answer_cases(language: str) -> Iterator[Case]:
    thinking = "一步一步地算" if language == "zh" else "working it out"
    for name, kind, reference, answer, verdict in ANSWERS:
        yield Case(
            name=name,
            prompt=_prompt(kind, reference, language),
            text=f"<think> {thinking} </think> <answer> {answer} </answer>",
            dialect=Dialect.R1_ZERO,
            prefilled=False,
            verdict=verdict,
            format=1.0 if answer.strip() else 0.0,
        )


def _reply_cases() -> Iterator[Case]:
    for name, dialect, prefilled, text, verdict, format_reward in REPLIES:
        yield Case(
            name=name,
            prompt=_prompt(NUMBER, "42", "zh" if not text.isascii() else "en"),
            text=text,
            dialect=dialect,
            prefilled=prefilled,
            verdict=verdict,
            format=format_reward,
        )


def _prompt(kind: AnswerKind, reference: str, language: str) -> Prompt:
    question = "答案是什么？" if language == "zh" else "What is the answer?"
    return Prompt(
        messages=(Message(role="user", content=question),),
        reference=reference,
        gold="(3 + 5) * 3" if kind is COUNTDOWN else reference,
        answer_kind=kind,
        domain="cases",
        language=language,
    )
