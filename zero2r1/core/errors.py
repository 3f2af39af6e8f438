"""Errors that say what went wrong, where, why, and what to do about it.

Every error a user can cause is a `UserError` with a code; `explain(code)` gives the page behind it. The text is
plain (no colour, no terminal width), so that it reads the same in a log, a test and a report.

What is not here: rendering for terminals (cli) and warnings about the health of a run (the stages raise no error
for those; their codes share the table in `core/codes.py`).
"""

from typing import ClassVar

from zero2r1.core.codes import CODES

__all__ = [
    "CODES",
    "ConfigError",
    "DataError",
    "MissingExtraError",
    "ModelError",
    "RewardError",
    "RunError",
    "UserError",
    "explain",
]


class UserError(ValueError):
    """A problem the user can solve, told in the user's terms.

    Args:
        code: `Z` and three digits, a key of `CODES`.
        what: one line, no full stop: what is wrong.
        where: `file:line:col`, a path, or a place such as `override 'a.b=c'`.
        excerpt: source lines with a caret, already laid out (see `core/excerpt.py`).
        why: one or more lines of reason.
        fix: what to do, as a command or a setting where there is one.
    """

    exit_code: ClassVar[int] = 2
    """Exit status of the command line: 1 the run failed, 2 the user can fix the input, 3 an extra is missing."""

    def __init__(
        self, code: str, what: str, *, where: str = "", excerpt: str = "", why: str = "", fix: str = ""
    ) -> None:
        # args hold what __init__ needs, the rest travels in __dict__: so the error survives pickling between processes.
        super().__init__(code, what)
        self.code = code
        self.what = what
        self.where = where
        self.excerpt = excerpt
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        head = f"error {self.code} {self.what}"
        blocks = [f"{head}   {self.where}" if self.where else head]
        if self.excerpt:
            blocks.append(self.excerpt)
        if self.why:
            blocks.append(_indent(self.why))
        if self.fix:
            blocks.append(_indent(f"fix: {self.fix}"))
        return "\n".join(blocks)


class ConfigError(UserError):
    """A recipe, a config file or an override is wrong (Z10x, Z11x)."""


class DataError(UserError):
    """A data file or a task is wrong (Z13x)."""


class RewardError(UserError):
    """A reward cannot be built or breaks its contract (Z14x). What a model writes never raises this."""


class ModelError(UserError):
    """A model cannot be found, loaded or used (Z20x)."""


class MissingExtraError(ModelError):
    """An optional package is needed and not installed (Z201)."""

    exit_code: ClassVar[int] = 3


class RunError(UserError):
    """A run cannot start, go on or be read: lock, disk, damage, divergence (Z4xx)."""

    exit_code: ClassVar[int] = 1


def explain(code: str) -> str:
    """The page behind an error code: its title and what it means.

    Raises:
        ConfigError: for a code that does not exist (Z199).
    """
    known = CODES.get(code.upper())
    if known is None:
        raise ConfigError("Z199", f"unknown error code {code!r}", fix=f"one of {', '.join(CODES)}")
    return f"{code.upper()}: {known}"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in text.splitlines())
