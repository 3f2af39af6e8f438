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
drowned in the drift of the matrix products, which are most of a step. Whole steps are reported beside it. All
sessions are open at once and take their steps by turns.
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
WARMING = 2
"""Steps with all sequences that are not counted: they touch memory for the first time."""
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
    places = {
        context: {at: Place(engine, text, at, count, arguments.steps) for at in (SHORT, context)}
        for context, count in sequences.items()
    }
    take_turns([place for pair in places.values() for place in pair.values()], arguments.steps)
    heads = model.config.num_hidden_layers * model.config.num_attention_heads
    found |= {"sequences": {}, "step_ms": {}, "attention_ms": {}, "short_attention_ms": {}, "ns_per_token_and_head": {}}
    costs = []
    for context, pair in places.items():
        (_, short, short_seen), (step, long, seen) = pair[SHORT].medians(), pair[context].medians()
        costs.append(cost(long, short, sequences=sequences[context], tokens=seen - short_seen, heads=heads))
        found["sequences"][str(context)] = sequences[context]
        found["step_ms"][str(context)] = round(1e3 * step, 2)
        found["attention_ms"][str(context)] = round(1e3 * long, 2)
        found["short_attention_ms"][str(context)] = round(1e3 * short, 2)
        found["ns_per_token_and_head"][str(context)] = round(1e9 * costs[-1], 3)
    return found | {"spread": round(spread(costs), 3)}


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


class Place:
    """A session with all its sequences running after `context` tokens, and what its decoding steps took."""

    def __init__(self, engine: Any, text: Sequence[int], context: int, sequences: int, steps: int) -> None:
        from zero2r1.policy.config import PREFILL_TOKENS

        self._session, self._context, self._sequences = engine.open(), context, sequences
        self._taken: list[tuple[float, float, float]] = []
        # The first ones go on while the last ones are read.
        tokens = steps + WARMING + 1 + -(-sequences * context // PREFILL_TOKENS)
        for number in range(sequences):
            # Prompts differ in their first token, so no two share a page.
            _add(self._session, (number + 100, *_tokens(text, context - 1)), samples=1, tokens=tokens, number=number)
        while not self.step([0.0]):
            pass
        self._taken.clear()  # its attention was not timed

    def step(self, spent: list[float]) -> bool:
        """One step; True when all sequences sampled. `spent` is what `timed_attention` gives."""
        before, spent[0] = self._session.stats, 0.0
        self._session.step()
        after = self._session.stats
        if after.sampled_tokens - before.sampled_tokens != self._sequences:
            return False
        seen = self._context + before.sampled_tokens / self._sequences
        self._taken.append((after.decode_s - before.decode_s, spent[0], seen))
        return True

    def medians(self) -> tuple[float, float, float]:
        """Seconds of a step, of the attention in it, and the tokens a sequence looks at on average."""
        step, attention, seen = (statistics.median(values) for values in zip(*self._taken[WARMING:], strict=True))
        return step, attention, seen


def take_turns(places: Sequence[Place], steps: int) -> None:
    """Steps of each place in turn, so that a machine that others slow down does so for all of them alike."""
    with timed_attention() as spent:
        for _ in range(WARMING + steps):
            for place in places:
                assert place.step(spent)


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
    parser.add_argument("--steps", type=int, default=48, help="decoding steps at each context")
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
