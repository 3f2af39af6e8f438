"""A judge of programs for a whole run: one sandbox, opened when first needed, used from any thread.

What is not here: how a program is judged (`grade.py`), and the choice of a tier of isolation (`sandbox/tiers.py`).
"""

import threading
from types import TracebackType

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem
from zero2r1.core.types import Prompt, Verdict
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.rewards.code.grade import grade_reply
from zero2r1.rewards.code.verdict import CodeGrade, unjudged
from zero2r1.sandbox.base import Tier
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.tiers import Report, open_sandbox


class CodeGrader:
    """Judges replies to prompts of the kind `code`. Usable from any thread; close it, or use it in a `with`.

    Args:
        config: scoring and sandbox. The sandbox is opened at the first use.
        report: hears which sandbox was chosen.
    """

    def __init__(self, config: CodeConfig, *, report: Report | None = None) -> None:
        self.config = config
        self._report = report
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    @property
    def tier(self) -> Tier:
        """How strongly programs are isolated. Opens the sandbox."""
        return self.sandbox.tier

    @property
    def open_tier(self) -> str:
        """The tier in use; empty while no sandbox is open."""
        with self._lock:
            return self._sandbox.tier.value if self._sandbox is not None else ""

    def value_of(self, judged: CodeGrade) -> float | None:
        """What a grade is worth under `config.scoring`: 0 or 1, or the share of tests passed; None for an error."""
        if judged.verdict is Verdict.ERROR or self.config.scoring == "fraction":
            return judged.fraction
        return float(judged.verdict is Verdict.RIGHT)

    @property
    def sandbox(self) -> Sandbox:
        """Where programs run.

        Raises:
            UserError: no tier that the configuration allows works on this machine.
        """
        with self._lock:
            if self._sandbox is None:
                self._sandbox = open_sandbox(self.config.sandbox, report=self._report)
            return self._sandbox

    def grade(self, prompt: Prompt, text: str, dialect: Dialect, *, prefilled: bool = False) -> CodeGrade:
        """Judge a reply to a prompt. A reference that states no problem is an error, not a wrong answer."""
        try:
            problem = CodeProblem.from_reference(prompt.reference)
        except ValueError as unreadable:
            return unjudged(f"the reference of the prompt: {unreadable}")
        sandbox, scoring = self.sandbox, self.config.scoring
        return grade_reply(text, problem, sandbox, dialect=dialect, prefilled=prefilled, scoring=scoring)

    def close(self) -> None:
        """End every box."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
                self._sandbox = None

    def __enter__(self) -> "CodeGrader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
