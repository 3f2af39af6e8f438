"""What drawing samples asks for: how many at a time, how many pages of cache, and bytes by term.

The built-in engine's pages are counted as it allocates them. Where a plan has several accelerators, which this package
does not bring a sampler for, what memory is free decides instead.

What it does not do: preemption. As many answers live at a time as can come to their ends together; the engine lets more
in and computes some again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zero2r1.evals.config import EvalConfig
from zero2r1.pipeline.planning import memory
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.shapes import Shape
from zero2r1.pipeline.planning.texts import Texts
from zero2r1.pipeline.planning.timing import Speed
from zero2r1.pipeline.planning.workload import Sampled
from zero2r1.policy.config import EngineConfig
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.sampler_config import SamplerConfig
from zero2r1.stages.config import StageBase

FREE_SHARE = 0.9
"""Share of several devices' free memory that is used. Ours: something is always fragmented."""
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a stage would run."""

    speed: Speed
    running: Running = field(default_factory=Running)
    runtime: int = 0
    """Bytes the libraries take."""
    budget: int | None = None
    """Bytes of all devices together; None: this machine, whose memory is its user's to know."""
    devices: int = 1


def own_pages(tokens: int) -> int:
    """ceil((tokens + PAGE - 1) / PAGE): most pages that belong to an answer of so many tokens alone.

    Its first token stands beside the last of its prompt, anywhere on a page. Ours: the worst place.
    """
    return pages_of(tokens + PAGE - 1)


def cache_pages(sampled: Sampled, longest: int, engine: EngineConfig) -> int:
    """Pages one call allocates: min(budget, need), with need = S * (own + 1) + min(prompts, 2 S) * prompt + 1.

    S = min(max_slots, answers); prompt: pages of the longest prompt, `longest` tokens, without its last token.
    Ours: as `policy/decoding.py`; equal to it where some prompt ends at the worst place of a page.
    """
    slots = min(engine.max_slots, sampled.answers)
    shared = min(sampled.prompts, 2 * slots) * pages_of(longest - 1)
    needed = max(slots * (own_pages(sampled.budget) + 1) + shared + 1, pages_of(longest + sampled.budget - 1))
    return min(needed, engine.max_tokens_in_cache // PAGE)


def fitting(pages: int, own: int, shared: int, samples: int) -> int:
    """Most n with n * own + ceil(n / samples) * shared <= pages: samples of a prompt share its full pages.

    Ours: the definition; at least 1.
    """
    groups, rest = divmod(pages, samples * own + shared)
    return max(1, groups * samples + max(0, rest - shared) // own)


def engine_slots(sampled: Sampled, longest: int, engine: EngineConfig) -> int:
    """Answers decoded at a time: min(max_slots, answers, those whose pages fit together). Ours: see `fitting`."""
    pages = engine.max_tokens_in_cache // PAGE
    fits = fitting(pages, own_pages(sampled.response), (longest - 1) // PAGE, sampled.samples)
    return min(engine.max_slots, sampled.answers, fits)


def limits_of(sampler: SamplerConfig, shape: Shape) -> EngineConfig:
    """The engine's settings, or limits of the same kind that stand for another sampler's.

    Ours: vLLM's cache is given in GiB, a server's is its own: only how many are asked at a time is known.
    """
    if sampler.backend == "vllm":
        tokens = int(sampler.vllm.cache_gib * GIB) // memory.cache_bytes_per_token(shape, sampler.vllm.dtype)
        return EngineConfig(max_slots=sampler.vllm.max_slots, max_tokens_in_cache=max(1, tokens))
    if sampler.backend == "vllm_server":
        assert sampler.server is not None  # `SamplerConfig` holds this
        return EngineConfig(max_slots=sampler.server.concurrency, max_tokens_in_cache=2**62)
    return sampler.engine


def slots_and_terms(
    stage: StageBase, sampled: Sequence[Sampled], shape: Shape, texts: Texts, terms: Mapping[str, int], site: Site,
    prompt: float,
) -> tuple[dict[Sampled, int], dict[str, int]]:  # fmt: skip
    """How many answers of each kind are decoded at a time, and what the hungriest of them holds, in bytes by term.

    Args:
        terms: what learning holds.
        prompt: mean tokens of a prompt.
    """
    sampler, dtype = stage.sampler, stage.learner.compute_dtype
    if site.budget is not None and site.devices > 1:
        return _spread(sampled, shape, dtype, terms, site.budget, prompt)
    limits = limits_of(sampler, shape)
    slots = {each: engine_slots(each, texts.longest, limits) for each in sampled}
    most = max(slots.values())
    if sampler.backend != "engine":
        return slots, {"sampler": _foreign(sampler, shape)}
    each_token = memory.cache_bytes_per_token(shape, dtype)
    is_compiled = site.running.layout != "shared"
    logits = memory.sampling_logits_bytes(most, shape.vocab, is_drawn=is_compiled and _is_plain(stage.eval))
    if not is_compiled and site.running.is_cpu and dtype == "bfloat16":
        logits += 4 * shape.table  # through transformers each step makes the float32 head anew
    longest = max(slots[each] * pages_of(texts.longest + each.response) for each in sampled)
    return slots, {
        "kv_cache": max(cache_pages(each, texts.longest, limits) for each in sampled) * PAGE * each_token,
        "gathered": 0 if is_compiled else longest * PAGE * each_token // shape.layers,
        "sampling_logits": logits,
        "sampler": memory.layout_bytes(shape, dtype, site.running, has_adapters=stage.learner.lora is not None),
    }


def _spread(
    sampled: Sequence[Sampled], shape: Shape, dtype: str, terms: Mapping[str, int], budget: int, prompt: float
) -> tuple[dict[Sampled, int], dict[str, int]]:
    """On several devices: what fits beside the weights, each answer with what it speaks."""
    free = budget - sum(terms[name] for name in ("weights", "optimizer", "reference"))
    each_token = memory.cache_bytes_per_token(shape, dtype)
    logits = memory.sampling_logits_bytes(1, shape.vocab, is_drawn=False)
    slots = {}
    for each in sampled:
        one = (prompt + each.response) * each_token + logits
        slots[each] = max(1, min(each.answers, int(FREE_SHARE * free // one)))
    held = max(round(slots[each] * (prompt + each.response)) for each in sampled)
    return slots, {"kv_cache": held * each_token, "sampling_logits": max(slots.values()) * logits}


def _foreign(sampler: SamplerConfig, shape: Shape) -> int:
    """Bytes of vLLM's weights and cache, which it holds all the time; a server's are not here."""
    if sampler.backend == "vllm_server":
        return 0
    return memory.weight_bytes(shape.parameters, sampler.vllm.dtype) + int(sampler.vllm.cache_gib * GIB)


def _is_plain(asked: EvalConfig) -> bool:
    """Rollouts and traces always draw from the whole distribution; an evaluation may not."""
    return asked.temperature > 0 and asked.top_p == 1.0


def notes_of(stage: StageBase, sampled: Sampled, shape: Shape, texts: Texts) -> list[str]:
    """What a plan of the sampling does not know, or what the sampler would refuse."""
    sampler = stage.sampler
    if sampler.backend != "engine":
        return [f"its samples come from {sampler.backend}; their time is that of the built-in engine at as many slots"]
    most = sampler.engine.max_tokens_in_cache
    if pages_of(texts.longest + sampled.budget - 1) > most // PAGE:
        return [f"one answer needs more than the engine's {most} tokens of cache: it would refuse"]
    return []
