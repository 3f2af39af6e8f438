"""The settings of the code graders.

What is not here: limits of a program. Each problem states its own.
"""

from pydantic import Field

from zero2r1.core.config import Strict
from zero2r1.rewards.code.verdict import Scoring
from zero2r1.sandbox.config import SandboxConfig


class CodeConfig(Strict):
    """How programs are judged."""

    sandbox: SandboxConfig = Field(default_factory=SandboxConfig)
    """Where programs run. Ours: the paper runs code against test cases and does not say where."""
    scoring: Scoring = "all"
    """all: a program passes every test or gets nothing. fraction: tests passed over all tests. Source: DeepSeek-R1, RL
    data, for bug fixing (must pass all unit tests). Ours for competitions, where the paper does not say."""
