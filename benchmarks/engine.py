"""Sampled tokens per second of the built-in engine against transformers' own generation, same network, same prompts.

A tiny Qwen3 network with random weights (nothing is learned here); both sides sample at temperature 1 to the same
length, in turn; the claim is the ratio of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

from report import Claim, run

GOAL_RATIO = 2.0
NEW_TOKENS = 48


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Both sides in turn, `pairs` times; the first turn of each warms up nothing that the other would profit from."""
    import torch

    from zero2r1.core.random import Address
    from zero2r1.models.load import set_template
    from zero2r1.models.tiny import TinyConfig, make_tiny
    from zero2r1.models.tokenizer import make_tokenizer
    from zero2r1.policy.base import Sampling
    from zero2r1.policy.engine import Engine
    from zero2r1.tasks.base import TaskConfig, make_task

    prompts = make_task([TaskConfig()], seed=0).draw(arguments.prompts)
    tokenizer = make_tokenizer([prompt.question for prompt in prompts], vocab_size=512)
    set_template(tokenizer, "plain")
    model = make_tiny(TinyConfig(vocab_size=512), tokenizer, seed=0)
    model.generation_config.eos_token_id = None
    engine = Engine(model, tokenizer)
    rows = [engine.encode(prompt) for prompt in prompts for _ in range(arguments.samples)]
    longest = max(len(row) for row in rows)
    padded = torch.tensor([[tokenizer.pad_token_id] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    ours, theirs = [], []
    plain = type(model)(model.config)
    plain.load_state_dict(model.state_dict())
    plain.set_attn_implementation("sdpa")
    for turn in range(arguments.pairs):
        began = time.perf_counter()
        groups = engine.sample(
            prompts,
            arguments.samples,
            sampling=Sampling(max_new_tokens=NEW_TOKENS),
            address=Address(seed=turn, stage="benchmark", step=turn),
        )
        tokens = sum(len(completion.token_ids) for group in groups for completion in group)
        ours.append(tokens / (time.perf_counter() - began))
        began = time.perf_counter()
        with torch.no_grad():
            plain.generate(
                input_ids=padded,
                attention_mask=mask,
                do_sample=True,
                top_k=0,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
            )
        theirs.append(len(rows) * NEW_TOKENS / (time.perf_counter() - began))
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {
        "engine_tokens_per_s": round(statistics.median(ours)),
        "transformers_tokens_per_s": round(statistics.median(theirs)),
        "ratio": round(ratio, 2),
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)


if __name__ == "__main__":
    run(
        Claim(
            name="engine",
            goal=f"at least {GOAL_RATIO} times transformers' generate",
            meets=lambda found: found["ratio"] >= GOAL_RATIO,
            add_arguments=_arguments,
        ),
        measure,
    )
