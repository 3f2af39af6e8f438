"""A run folder written by hand: eight stages with known numbers, for the tests of the report."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

STAGES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("base", "pretrain", {}),
    ("r1_zero", "zero_rl", {"base": "base"}),
    ("dev1", "cold_start", {"base": "base", "teacher": "r1_zero"}),
    ("dev2", "reasoning_rl", {"base": "dev1"}),
    ("dev3", "rejection_sampling", {"base": "base", "teacher": "dev2"}),
    ("student_base", "pretrain", {}),
    ("student_a", "distill", {"base": "student_base", "teacher": "dev3"}),
    ("student_rl", "zero_rl", {"base": "student_base"}),
)
SCORES: Mapping[str, tuple[float, float, float]] = {
    # stage: pass@1, readable, language
    "base": (0.10, 0.20, 0.70),
    "r1_zero": (0.60, 0.35, 0.72),
    "dev1": (0.45, 0.95, 0.97),
    "dev2": (0.80, 0.97, 0.99),
    "dev3": (0.79, 0.98, 0.99),
    "student_base": (0.02, 0.10, 0.70),
    "student_a": (0.55, 0.97, 0.98),
    "student_rl": (0.15, 0.30, 0.75),
}
NUM_QUESTIONS = 40
ASKED = ((0, "en", "arithmetic", "37 + 48 = ?", "85"), (1, "zh", "words", "三加三等于几？", "6"))


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def metric(mean: float, half: float = 0.02) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": NUM_QUESTIONS}


def result(stage: str, suite: str = "test", **changes: Any) -> dict[str, Any]:
    """An evaluation: questions lie up to 0.04 around the stage's mean, in a pattern of its own."""
    accuracy, readable, language = SCORES[stage]
    shift = list(SCORES).index(stage)
    spread = [((7 * index + shift) % 5 - 2) / 2 for index in range(NUM_QUESTIONS)]  # mean 0, within -1 to 1
    questions = [
        {
            "prompt_id": f"q{index}",
            "accuracy": accuracy + 0.04 * spread[index],
            "readable": readable + 0.02 * spread[index],
            "language_consistency": language + 0.01 * spread[index],
            "format": readable,
            "cons": accuracy,
            "tokens": 30.0,
        }
        for index in range(NUM_QUESTIONS)
    ]
    return {
        "schema_version": 1, "suite": suite, "split": "test", "n": NUM_QUESTIONS, "k": 16, "temperature": 0.6,
        "top_p": 0.95, "max_new_tokens": 128, "template_hash": "aa" * 8, "prompts_hash": "bb" * 8,
        "weights_hash": f"{stage:0<16}"[:16], "num_errors": 0, "questions": questions,
        "metrics": {"pass@1": metric(accuracy), "cons@16": metric(min(1.0, accuracy + 0.05)),
                    "format": metric(readable), "readable": metric(readable), "language": metric(language),
                    "length/mean": metric(30.0, 1.0)},
        **changes,
    }  # fmt: skip


def sample(
    stage: str, index: int, language: str, domain: str, prompt: str, gold: str, **changes: Any
) -> dict[str, Any]:
    return {
        "prompt_id": f"q{index}", "sample": 0, "prompt": prompt, "gold": gold, "language": language, "domain": domain,
        "text": f"<think> {stage} thinks about it </think> <answer> {gold} </answer>", "answer": gold,
        "verdict": "right", "parts": {"accuracy": 1.0, "format": 1.0, "language": 0.9}, "reward": 2.9, "notes": [],
        "finish": "stop", "tokens": 12, "is_readable": True, **changes,
    }  # fmt: skip


def rl_metrics(steps: int = 60) -> list[dict[str, Any]]:
    def wave(step: int) -> float:
        return 0.05 * math.sin(step * 1.7)

    return [
        {
            "step": step, "reward/mean": 0.5 + step / steps + wave(step),
            "accuracy": 0.1 + 0.5 * step / steps + wave(step) / 2,
            "reward/accuracy/mean": 0.1 + 0.5 * step / steps + wave(step) / 2,
            "reward/format/mean": 0.4 + 0.5 * step / steps,
            "reward/language/mean": 0.7 + 0.25 * step / steps, "length/mean": 20 + step / 3 + 20 * wave(step),
            "length/truncated_frac": max(0.0, 0.2 - step / 200), "reward/zero_std_frac": 0.5 - step / 200,
            "entropy/mean": 1.2 - step / 100, "kl/mean": step * 1e-4, "gap/mean": 2e-7, "gap/max": 3e-6,
            "reflective_words": 0.1 + step / 400, "grad_norm": 0.4 + wave(step), "clip/frac": 0.01,
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip


def write_stage(root: Path, name: str, kind: str, parents: dict[str, str]) -> None:
    folder = root / "stages" / name
    is_rl = kind in ("zero_rl", "reasoning_rl")
    sft = [{"step": step, "loss": 3.0 / step, "nll/mean": 3.0 / step, "grad_norm": 1.0} for step in range(1, 41)]
    write_rows(folder / "metrics.jsonl", rl_metrics() if is_rl else sft)
    phases = {"time/rollout": 0.5, "time/train": 0.25} if is_rl else {"time/data": 0.1, "time/train": 0.4}
    write_rows(folder / "timings.jsonl", [{"step": step, **phases} for step in range(1, 61)])
    write_json(folder / "evals" / "test.json", result(name))
    write_rows(folder / "evals" / "test.samples.jsonl", [sample(name, *asked) for asked in ASKED])
    if is_rl:
        for step in (1, 41):
            rows = [
                {**sample(name, *ASKED[0]), "sample": index, "step": step, "advantage": index - 0.5} for index in (0, 1)
            ]
            write_rows(folder / "rollouts" / f"step_{step:06d}.jsonl", rows)
    if kind in ("cold_start", "rejection_sampling"):
        write_rows(folder / "data" / "sft.jsonl", [{"id": "r0", "messages": []}])
    rewards = {"accuracy": 1.0, "format": 1.0, "language": 1.0 if kind == "reasoning_rl" else 0.0}
    write_json(
        folder / "manifest.json",
        {
            "schema_version": 1, "stage": name, "kind": kind, "parents": parents, "key": f"key-{name}", "seconds": 60.0,
            "updates": 60 if is_rl else 40, "outputs": {"model": "model", "weights_hash": f"{name:0<16}"[:16]},
            "config": {"kind": kind, **({"rewards": rewards} if is_rl else {})}, "versions": {},
        },
    )  # fmt: skip


def write_run(root: Path, stages: tuple[tuple[str, str, dict[str, str]], ...] = STAGES) -> Path:
    """A finished run of these stages."""
    for name, kind, parents in stages:
        write_stage(root, name, kind, parents)
    planned = {
        name: {"kind": kind} | {("init" if role == "base" else role): parent for role, parent in parents.items()}
        for name, kind, parents in stages
    }
    recipe = {"name": "tiny", "description": "R1 in miniature.", "seed": 7, "stages": planned}
    (root / "config.resolved.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    (root / "cmd.txt").write_text("zero2r1 run tiny\n", encoding="utf-8")
    write_json(root / "env.json", {"python": "3.11.7", "seed": 7, "versions": {"torch": "2.13.0", "zero2r1": "0.1"}})
    write_json(root / "status.json", {"state": "finished"})
    write_rows(root / "events.jsonl", [{"kind": "started"}])
    return root
