"""What a token costs: a group's prompt is read once, and attention's part of a step grows with the context, no more.

SmolLM2-135M-Instruct in bfloat16 under the built-in engine, one session for each measurement.

    prefill   everything before the first decoding step (reading, sharing pages, admission), for a group of 16 samples
              of one prompt over that of a single sample of it
    decoding  a step at contexts of 1k to 8k tokens (prompts of their own, so that nothing is shared). The seconds that
              its attention takes beyond those of as many sequences at a short context, where nearly all of it is what
              a call costs, over the tokens looked at, the layers and the heads, should be one number:

                  cost(c) = (attention(c) - attention(c0)) / (sequences * (c - c0) * layers * query heads)

Each context has as many sequences as make the same number of cached tokens: 31 of 1k, 4 of 8k. So the steps walk
through equally much memory, and what is compared is the length of the context: with 4 sequences everywhere the same
attention differs by a fifth, up and down, with the memory it is spread over (docs/log.md).

Attention is timed by itself (writing new keys and values, and attending): as the difference of two whole steps it
drowned in the drift of the matrix products, which are most of a step. Whole steps are reported beside it. Every other
round goes from long to short, so that a machine that slows down steadily does so for all contexts alike.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from peers import ours
from report import Claim, run

GOAL_PREFILL = 1.15
GOAL_SPREAD = 1.2
"""Largest cost over the smallest, between 1k and 8k tokens."""
GROUP = 16
SHORT = 64
CONTEXTS = (1024, 2048, 4096, 8000)
"""Tokens; the model has 8,192 positions, and the steps need some of them."""


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Both laws."""
    model, tokenizer = ours.load("bfloat16")
    text = tokenizer.encode("The keeper of the lighthouse wrote down the weather of the day, and then he slept. ")
    contexts = [context for context in CONTEXTS if context <= arguments.longest]
    sequences = {context: max(1, arguments.tokens // context) for context in contexts}
    needed = max(*(count * (context + 512) for context, count in sequences.items()), arguments.prompt + GROUP * 64)
    engine = ours.make_engine(model, tokenizer, is_endless=True, max_tokens_in_cache=needed)
    found = prefill(engine, _tokens(text, arguments.prompt), arguments)
    rounds = [
        {
            (context, own): step_s(engine, text, context, sequences[own], arguments)
            for own in contexts[:: 1 if number % 2 == 0 else -1]
            for context in (SHORT, own)
        }
        for number in range(arguments.rounds)
    ]
    steps, attention, seen = (
        {place: statistics.median(one[place][which] for one in rounds) for place in rounds[0]} for which in (0, 1, 2)
    )
    config = model.config
    heads = config.num_hidden_layers * config.num_attention_heads
    costs = {
        context: cost(
            attention[context, context],
            attention[SHORT, context],
            sequences=sequences[context],
            tokens=seen[context, context] - seen[SHORT, context],
            heads=heads,
        )
        for context in contexts
    }
    return found | {
        "sequences": {str(context): count for context, count in sequences.items()},
        "step_ms": {str(context): round(1e3 * steps[context, context], 2) for context in contexts},
        "attention_ms": {str(context): round(1e3 * attention[context, context], 2) for context in contexts},
        "short_attention_ms": {str(context): round(1e3 * attention[SHORT, context], 2) for context in contexts},
        "ns_per_token_and_head": {str(context): round(1e9 * value, 3) for context, value in costs.items()},
        "spread": round(spread(list(costs.values())), 3),
    }


def cost(attention: float, short: float, *, sequences: int, tokens: float, heads: int) -> float:
    """Seconds of attention for one more cached token of one sequence in one head: the formula above.

    attention, short: seconds of a step at c and at c0; tokens: c - c0; heads: layers * query heads.
    """
    return (attention - short) / (sequences * tokens * heads)


def spread(costs: Sequence[float]) -> float:
    """The largest over the smallest; infinite when one is not positive, so that noise is never a law."""
    return max(costs) / min(costs) if min(costs) > 0 else float("inf")


def prefill(engine: Any, prompt: tuple[int, ...], arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds before the first decoding step, for one sample and for a group, in turn."""
    seconds: dict[int, list[float]] = {1: [], GROUP: []}
    read: dict[int, int] = {}
    session = engine.open()
    for turn in range(-1, arguments.turns):
        for samples in seconds:
            before = session.stats
            _add(session, prompt, samples=samples, tokens=1, number=turn + 1)
            began = time.perf_counter()
            while not session.is_idle:
                session.step()
            wall = time.perf_counter() - began
            after = session.stats
            read[samples] = after.prefilled_tokens - before.prefilled_tokens
            if turn >= 0:  # the first turn makes the cache
                seconds[samples].append(wall - (after.decode_s - before.decode_s))
    medians = {samples: statistics.median(values) for samples, values in seconds.items()}
    return {
        "prefill_s_1": round(medians[1], 4),
        f"prefill_s_{GROUP}": round(medians[GROUP], 4),
        "prefill_ratio": round(medians[GROUP] / medians[1], 3),
        "prefilled_tokens_ratio": round(read[GROUP] / read[1], 3),
    }


def step_s(
    engine: Any, text: Sequence[int], context: int, sequences: int, arguments: argparse.Namespace
) -> tuple[float, float, float]:
    """Median seconds of a decoding step with all sequences running after `context` tokens, of the attention in it, and
    the tokens a sequence looks at on average: the first ones go on while the last ones are read."""
    from zero2r1.policy.config import PREFILL_TOKENS

    session = engine.open()
    tokens = arguments.steps + 1 + -(-sequences * context // PREFILL_TOKENS)
    for number in range(sequences):
        # Prompts differ in their first token, so no two share a page.
        _add(session, (number + 100, *_tokens(text, context - 1)), samples=1, tokens=tokens, number=number)
    seconds, attention, seen = [], [], []
    with timed_attention() as spent:
        while not session.is_idle:
            before, spent[0] = session.stats, 0.0
            session.step()
            after = session.stats
            if after.sampled_tokens - before.sampled_tokens == sequences:
                seconds.append(after.decode_s - before.decode_s)
                attention.append(spent[0])
                seen.append(context + before.sampled_tokens / sequences)
    # In the first of them memory is touched for the first time.
    return statistics.median(seconds[1:]), statistics.median(attention[1:]), statistics.median(seen[1:])


@contextmanager
def timed_attention() -> Iterator[list[float]]:
    """Inside, the one number it gives grows by the seconds of each layer's attention while decoding."""
    from zero2r1.policy.cache import StepContext

    spent, attend = [0.0], StepContext.attend

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        mixed = attend(*given, **named)
        spent[0] += time.perf_counter() - began
        return mixed

    StepContext.attend = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        StepContext.attend = attend  # type: ignore[method-assign]


def _add(session: Any, prompt: tuple[int, ...], *, samples: int, tokens: int, number: int) -> None:
    from zero2r1.core.random import Address, key
    from zero2r1.policy.base import Sampling
    from zero2r1.policy.requests import Request

    own = key(Address(seed=0, stage="benchmark", step=number), len(prompt))
    session.add(Request(prompt=prompt, sampling=Sampling(max_new_tokens=tokens), key=own, samples=samples))


def _tokens(text: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple(itertools.islice(itertools.cycle(text), count))


def meets(found: Mapping[str, Any]) -> bool:
    """A group's prompt costs what one does, and attention's cost is one number."""
    return found["prefill_ratio"] <= GOAL_PREFILL and found["spread"] <= GOAL_SPREAD


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(threads=2)  # reading 8k tokens takes a core minutes
    parser.add_argument("--turns", type=int, default=5, help="turns of the prefill, after one to warm up")
    parser.add_argument("--prompt", type=int, default=1024, help="tokens of the group's prompt")
    parser.add_argument("--rounds", type=int, default=2, help="rounds over all contexts")
    parser.add_argument("--steps", type=int, default=24, help="decoding steps at each context")
    parser.add_argument("--tokens", type=int, default=32_000, help="cached tokens of all sequences, at each context")
    parser.add_argument("--longest", type=int, default=CONTEXTS[-1], help="longest context, at least 1024")


if __name__ == "__main__":
    run(
        Claim(
            name="cost_law",
            goal=f"prefill of a group of {GROUP} at most {GOAL_PREFILL} times that of one; attention per token and "
            f"head within a factor of {GOAL_SPREAD} from 1k to 8k tokens",
            meets=meets,
            add_arguments=_arguments,
        ),
        measure,
    )
