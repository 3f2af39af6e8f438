"""Peak memory of one update above weights, gradients and optimizer: linear in tokens, at any vocabulary.

A thin Qwen3 network with random weights and a policy update (ratio, clip, no KL term) on rows of 1,024 tokens, all in
one pass, so that nothing is hidden by cutting the batch. Each setting runs in a process of its own: a first update on
one row makes the optimizer's state and loads the libraries; then the peak of the resident set is reset, the update
runs, and the resident set before it and the size of the gradients are taken off the new peak.

The slope is bytes a token, a straight line through the token counts by least squares, once for each vocabulary. With
all logits at once it would have a part of 4 bytes times the vocabulary, several times over.

The gradients are taken off whole. At the peak the one of the embeddings may not be there yet, so at the large
vocabulary the figure can be too small by that one, 4 * vocabulary * width bytes; the slopes are not touched by it.

TRL's update (`GRPOTrainer` with its defaults) is measured beside ours on the same network and rows where its own
environment is there (`make peers`), at fewer tokens: its logits alone are 4 * tokens * vocabulary bytes.

Linux only: the peak is read from /proc.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from peers.client import interpreter
from report import Claim, last_report, run

GOAL_BYTES = 1.2e9
GOAL_SLOPES = 1.1
"""Slope at the large vocabulary, relative to the small one."""
VOCABULARIES = (32_768, 151_936)
TOKENS = (4_096, 8_192, 16_384)
TRL_TOKENS = 1_024
ROW = 1_024
PROMPT = 64


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """All settings, each in its own process; or, in such a process, the one it was started for."""
    if arguments.only:
        who, tokens, vocabulary = arguments.only.split(":")
        return {"ours": _ours, "trl": _trl}[who](int(tokens), int(vocabulary), arguments)
    found = {(tokens, vocab): _child("ours", tokens, vocab, arguments) for vocab in VOCABULARIES for tokens in TOKENS}
    slopes = [_slope([(tokens, found[tokens, vocab]) for tokens in TOKENS]) for vocab in VOCABULARIES]
    python = interpreter(arguments.trl_python, variable="ZERO2R1_TRL_PYTHON", default=".venv-trl/bin/python")
    return {
        "peak_bytes": found[TOKENS[-1], VOCABULARIES[-1]],
        "bytes_per_token": {str(vocab): round(slope) for vocab, slope in zip(VOCABULARIES, slopes, strict=True)},
        "slope_ratio": round(slopes[-1] / slopes[0], 3),
        "bytes": {f"{tokens} tokens, vocabulary {vocab}": value for (tokens, vocab), value in found.items()},
        "trl": _beside_trl(python, arguments) if python else "not measured: its environment is absent",
    }


def _beside_trl(python: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """TRL and ours at the same few tokens and the large vocabulary."""
    pair = {
        who: _child(who, TRL_TOKENS, VOCABULARIES[-1], arguments, python=of)
        for who, of in (("ours", sys.executable), ("trl", python))
    }
    return {"tokens": TRL_TOKENS, "vocabulary": VOCABULARIES[-1], **pair}


def _child(
    who: str, tokens: int, vocabulary: int, arguments: argparse.Namespace, *, python: Path | str = sys.executable
) -> int:
    command = [str(python), __file__, "--only", f"{who}:{tokens}:{vocabulary}", "--threads", str(arguments.threads)]
    command += ["--pass-tokens", str(arguments.pass_tokens), *(["--recompute"] if arguments.recompute else [])]
    # glibc keeps freed memory below this size for itself; given back at once, the resident set is what is in use.
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "MALLOC_MMAP_THRESHOLD_": "65536"}
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(last_report(result.stdout)["measured"]["bytes"])


def _slope(points: list[tuple[int, int]]) -> float:
    """Of the straight line through (x, y) by least squares: sum (x - mean x)(y - mean y) / sum (x - mean x)^2."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def _network(vocabulary: int) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = Qwen3Config(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=ROW, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(shape)


def _ours(tokens: int, vocabulary: int, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from zero2r1.learner.base import Batch, Row
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner
    from zero2r1.models.attention import register_attention
    from zero2r1.rl.loss import PolicyLoss

    model = _network(vocabulary)
    model.set_attn_implementation(register_attention())
    more = {"activation_checkpointing": True} if arguments.recompute else {}
    learner = Learner(model, LearnerConfig(micro_tokens=arguments.pass_tokens or tokens, **more), total_steps=2)
    is_response = torch.arange(ROW) >= PROMPT

    def update(rows: int) -> None:
        made = [
            Row(
                token_ids=torch.randint(vocabulary, (ROW,)),
                loss_mask=is_response,
                weights=is_response / (rows * (ROW - PROMPT)),
                streams={"advantage": torch.full((ROW,), 1.0 - 2.0 * (i % 2)), "old": torch.full((ROW,), -12.0)},
            )
            for i in range(rows)
        ]
        learner.step(Batch(rows=tuple(made)), PolicyLoss(kl_coef=0.0))

    return _above(update, tokens // ROW, model)


def _trl(tokens: int, vocabulary: int, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = Tokenizer(WordLevel({"?": 0, "1": 1, ".": 2}, unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=".", pad_token=".")
    model = _network(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(output_dir=folder, use_cpu=True, bf16=False, report_to=[]),
            train_dataset=Dataset(InMemoryTable.from_pydict({"prompt": ["1"]}), fingerprint="never drawn from"),
            processing_class=tokenizer,
        )
    trainer.current_gradient_accumulation_steps = 1
    optimizer = torch.optim.AdamW(trainer.model.parameters(), fused=True)

    def update(rows: int) -> None:
        rest = ROW - PROMPT
        batch = {
            "prompt_ids": torch.randint(vocabulary, (rows, PROMPT)),
            "prompt_mask": torch.ones(rows, PROMPT, dtype=torch.long),
            "completion_ids": torch.randint(vocabulary, (rows, rest)),
            "completion_mask": torch.ones(rows, rest, dtype=torch.long),
            "advantages": torch.tensor([1.0 - 2.0 * (i % 2) for i in range(rows)]),
            "old_per_token_logps": torch.full((rows, rest), -12.0),
            "num_items_in_batch": torch.tensor(rows * rest),
        }
        trainer._compute_loss(trainer.model.train(), batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return _above(update, tokens // ROW, model)


def _above(update: Callable[[int], None], rows: int, model: Any) -> dict[str, Any]:
    """Bytes of the resident set at the update's peak, above what was there before and the gradients."""
    update(1)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    update(rows)
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return {"bytes": _status("VmHWM") - before - gradients}


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="WHO:TOKENS:VOCABULARY, one setting in this process")
    parser.add_argument("--pass-tokens", type=int, default=0, help="tokens of one pass (0: all)")
    parser.add_argument("--trl-python", default=None, help="interpreter with trl (default .venv-trl)")
    parser.add_argument("--recompute", action="store_true", help="recompute activations in the backward pass")


if __name__ == "__main__":
    run(
        Claim(
            name="memory",
            goal=f"an update of {TOKENS[-1]} tokens at a vocabulary of {VOCABULARIES[-1]} takes at most "
            f"{GOAL_BYTES / 1e9} GB above weights, gradients and optimizer, and bytes a token grow by at most "
            f"{GOAL_SLOPES} times between the vocabularies",
            meets=lambda found: (
                "peak_bytes" not in found or (found["peak_bytes"] <= GOAL_BYTES and found["slope_ratio"] <= GOAL_SLOPES)
            ),
            add_arguments=_arguments,
        ),
        measure,
    )
