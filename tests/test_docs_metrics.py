"""Every metric that the code writes is explained in docs/metrics.md, and every code of a red flag has its page."""

import ast
import re
from pathlib import Path

from zero2r1.core.codes import CODES
from zero2r1.evals.result import VALUES

ROOMS = "reward|length|entropy|kl|ratio|clip|gap|nll|time|rollout|memory|monitor|heldout|sandbox"
METRIC = re.compile(rf"({ROOMS})/[a-z_]+|tokens_per_s")
PLAIN = ("loss", "grad_norm", "lr", "tokens", "nonfinite", "epoch", "accuracy", "reflective_words")
NOT_SHOWN = {"clip/mean", "kl/max", "entropy/max", "ratio/max", "clip/max"}
"""Names inside the learner; the log has `clip/frac` for the first, and no maxima but the gap's."""


def explained(root: Path) -> str:
    return (root / "docs" / "metrics.md").read_text(encoding="utf-8")


def written(root: Path) -> set[str]:
    """Names that look like metrics among the texts of the code that writes them."""
    files = [path for room in ("rl", "sft", "stages") for path in (root / "zero2r1" / room).glob("*.py")]
    texts = {
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if METRIC.fullmatch(text)} - NOT_SHOWN


def test_every_metric_of_training_is_explained(root: Path):
    names = written(root)
    assert {"reward/mean", "length/truncated_frac", "clip/frac"} <= names
    assert [name for name in sorted({*names, *PLAIN}) if f"`{name}`" not in explained(root)] == []


def test_every_metric_of_an_evaluation_is_explained(root: Path):
    names = [name if name != "cons" else "cons@<k>" for name in VALUES]
    assert [name for name in names if f"`{name}`" not in explained(root)] == []


def test_every_code_named_there_has_a_page(root: Path):
    named = set(re.findall(r"\bZ\d{3}\b", explained(root)))
    assert len(named) > 10
    assert named <= set(CODES)
