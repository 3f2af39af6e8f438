"""A recipe's plan: for each stage parameters, memory by term, seconds by phase, bytes on disk; and the biggest lever.

What it does not do: reward workers' time (they judge beside sampling), start-up, or the time to load and save.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning import memory, storage
from zero2r1.pipeline.planning.shapes import Shape, adapter_parameters
from zero2r1.pipeline.planning.texts import Texts
from zero2r1.pipeline.planning.timing import Speed, decode_phase_s
from zero2r1.pipeline.planning.workload import Sampled, Workload
from zero2r1.stages.config import StageBase

MAX_SLOTS, MAX_TOKENS_IN_CACHE = 128, 65_536
"""The engine's defaults; a test holds that they are equal."""
PREFILL_TOKENS = 2048
"""Prompts are prefilled together up to so many tokens; a test holds that it is the engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage."""

    name: str
    kind: str
    model: str
    parameters: int
    active: int
    updates: int
    response: int
    """Tokens of an answer that the times assume."""
    slots: int
    """Answers decoded at a time."""
    update: Mapping[str, float]
    """Seconds of one update by phase."""
    total: Mapping[str, float]
    """Seconds of the whole stage by phase."""
    memory: Mapping[str, int]
    """Bytes by term, over all devices."""
    peak: int
    """Bytes needed at once, over all devices."""
    disk: Mapping[str, int]
    """Bytes by kind of file."""
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of the whole stage."""
        return sum(self.total.values())

    @property
    def update_s(self) -> float:
        """Of one update, the watch included."""
        return sum(self.update.values())

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"seconds": self.seconds, "update_seconds": self.update_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a stage would run."""

    speed: Speed
    runtime: int = 0
    """Bytes the libraries take."""
    budget: int | None = None
    """Bytes of all devices together, when the cache may grow to fill them; None: the engine's own limits."""
    devices: int = 1


def plan_stage(name: str, stage: StageBase, shape: Shape, texts: Texts, work: Workload, site: Site) -> StagePlan:
    """Everything about one stage."""
    learner = stage.learner
    dtype = learner.compute_dtype
    sampled = [each for each in (work.rollout, work.heldout, work.traces, work.measured) if each is not None]
    main = sampled[0]
    row = round(work.row_tokens)
    # The learner packs rows up to micro_tokens; a longer row is a pass of its own. Each device holds its own pass.
    pass_tokens = site.devices * min(max(learner.micro_tokens, row), round(work.rows * work.row_tokens))
    terms = memory.training_terms(shape, learner, pass_tokens=pass_tokens, has_reference=work.has_reference)
    terms["runtime"] = site.runtime
    terms["workspace"] = memory.WORKSPACE if site.budget is None else 0
    slots = {each: _slots(each, work.prompt, texts, shape, dtype, terms, site) for each in sampled}
    room = {each: slots[each] * cache_room(texts.longest, each.budget) for each in sampled}
    held = max(sampled, key=lambda each: room[each])
    if site.budget is not None:  # cache only what is spoken, not what is reserved
        room[held] = round(slots[held] * (work.prompt + held.response))
    terms["kv_cache"] = room[held] * memory.cache_bytes_per_token(shape, dtype)
    terms["sampling_logits"] = memory.sampling_logits_bytes(max(slots.values()), shape.vocab)
    needed = memory.peak(terms)
    update = update_phases(work, site.speed, slots, document_s=texts.document_s, micro_tokens=learner.micro_tokens)
    total = {phase: seconds * work.updates for phase, seconds in update.items()}
    for phase, each in (("traces", work.traces), ("evaluation", work.measured)):
        if each is not None:
            total[phase] = each.calls * call_s(site.speed, each, slots[each], work.prompt)
    return StagePlan(
        name=name, kind=str(getattr(stage, "kind", "")), model=shape.name, parameters=shape.parameters,
        active=shape.active, updates=work.updates, response=main.response, slots=slots[main], update=update,
        total=total, memory=terms, peak=needed, disk=_disk(stage, shape, texts, work),
        notes=(*_notes(shape, texts, main, site, needed), *_of_adapters(shape, learner)),
    )  # fmt: skip


def update_phases(
    work: Workload, speed: Speed, slots: Mapping[Sampled, int], *, document_s: float, micro_tokens: int
) -> dict[str, float]:
    """Seconds of one update by phase: prefill, decode, hash, reference, update, held-out, data.

    A rollout's sampling counts for each of its updates in equal parts. Before each call of the sampler and after each
    rollout the weights are hashed.
    Ours: the order of work in `rl/grpo.py`, `stages/monitoring.py` and `stages/pretrain.py`.
    """
    tokens = work.rows * work.row_tokens
    passes = num_passes(work.rows, work.row_tokens, micro_tokens)
    update = {"update": speed.learn_s(tokens, work.row_tokens, passes) + speed.apply_s()}
    if work.extra_passes:
        update["reference"] = work.extra_passes * speed.forward_s(tokens, work.row_tokens)
    if work.makes_documents:
        update["data"] = work.rows * document_s
    if work.rollout is not None:
        share = work.rollout.calls / work.updates
        update["prefill"] = share * prefill_s(speed, work.rollout.prompts, work.prompt)
        lengths = [work.rollout.response] * work.rollout.answers
        update["decode"] = share * decode_phase_s(speed, lengths, slots[work.rollout], work.prompt)
        update["hash"] = share * 2 * speed.hash_s()
    if work.heldout is not None:
        share = work.heldout.calls / work.updates
        update["heldout"] = share * call_s(speed, work.heldout, slots[work.heldout], work.prompt)
    return update


def num_passes(rows: int, row_tokens: float | int, micro_tokens: int) -> int:
    """ceil(rows / max(1, floor(micro_tokens / row_tokens))): whole rows are packed. Ours: as `models/packing.py`."""
    return -(-rows // max(1, int(micro_tokens // row_tokens)))


def prefill_s(speed: Speed, prompts: int, prompt: float | int) -> float:
    """Seconds to read all prompts, each once, in chunks of at most 2,048 tokens. Ours: as `policy/decoding.py`."""
    chunks = max(1, round(prompts * prompt / PREFILL_TOKENS))
    return chunks * speed.forward_s(prompts * prompt / chunks, prompt)


def call_s(speed: Speed, sampled: Sampled, slots: int, prompt: float | int) -> float:
    """Seconds of one call of the sampler: hash, prefill, decode. Ours: as `policy/engine.py`."""
    lengths = [sampled.response] * sampled.answers
    return speed.hash_s() + prefill_s(speed, sampled.prompts, prompt) + decode_phase_s(speed, lengths, slots, prompt)


def cache_room(prompt: int, budget: int) -> int:
    """ceil((prompt + budget - 1) / 8) * 8 tokens a slot reserves. Ours: as `policy/cache.py`."""
    return -(-(prompt + budget - 1) // 8) * 8


def _slots(
    sampled: Sampled, prompt: float, texts: Texts, shape: Shape, dtype: str, terms: Mapping[str, int], site: Site
) -> int:
    """Answers decoded at a time: the engine's limits here, what fits into the memory on accelerators."""
    if site.budget is None:
        return max(1, min(MAX_SLOTS, sampled.answers, MAX_TOKENS_IN_CACHE // (texts.longest + sampled.budget)))
    free = site.budget - sum(terms[name] for name in ("weights", "optimizer", "reference"))
    one = (prompt + sampled.response) * memory.cache_bytes_per_token(shape, dtype)
    one += memory.sampling_logits_bytes(1, shape.vocab)
    return max(1, min(sampled.answers, int(0.9 * free // one)))


def _disk(stage: StageBase, shape: Shape, texts: Texts, work: Workload) -> dict[str, int]:
    dtype = stage.learner.compute_dtype
    lora = stage.learner.lora
    # A checkpoint of adapters has no tokenizer: it is the base's.
    parameters, tensors = (shape.parameters, shape.tensors) if lora is None else adapter_parameters(shape, lora)
    files = 0 if lora is not None else texts.tokenizer_bytes
    one = storage.checkpoint_bytes(parameters, tensors, dtype, has_reference=work.has_reference, tokenizer=files)
    count = min(stage.save.keep, -(-work.updates // stage.save.checkpoint_every))
    disk = {
        # One more exists while the newest is being committed.
        "checkpoints": one * (count + 1),
        "model": storage.model_bytes(shape.parameters, shape.tensors, dtype, tokenizer=texts.tokenizer_bytes),
    }
    if work.rollout is not None:
        rows = min(stage.save.rollout_rows, work.rollout.answers)
        disk["rollouts"] = storage.rollout_bytes(
            work.updates, every=stage.save.rollouts_every, rows=rows, response_tokens=work.rollout.response
        )
    return disk


def _notes(shape: Shape, texts: Texts, main: Sampled, site: Site, needed: int) -> tuple[str, ...]:
    notes = []
    if site.budget is not None and needed > site.budget:
        notes.append(
            f"needs {needed / 2**30:.0f} GiB and the devices have {site.budget / 2**30:.0f}: lower "
            "learner.micro_tokens or take more devices; the time is that of devices with enough memory"
        )
    if texts.vocab is None:
        notes.append("its tokenizer is not here: a token is taken to be four bytes")
    if shape.positions is not None and texts.longest + main.budget > shape.positions:
        notes.append(f"prompt and budget need {texts.longest + main.budget} positions, the model has {shape.positions}")
    if site.budget is None and texts.longest + main.budget > MAX_TOKENS_IN_CACHE:
        notes.append(f"one answer needs more than the engine's {MAX_TOKENS_IN_CACHE} tokens of cache: it would refuse")
    return tuple(notes)


def _of_adapters(shape: Shape, learner: LearnerConfig) -> tuple[str, ...]:
    if learner.lora is None:
        return ()
    trained = adapter_parameters(shape, learner.lora)[0]
    return (f"{trained:,} parameters of adapters are trained; the time is that of training all {shape.parameters:,}",)


Again = Callable[[Mapping[str, Any]], float]
"""Seconds of the whole recipe with other settings: `response`, `samples`, `questions` as factors, `kl` as 0 or 1."""

LEVERS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("half of max_new_tokens", {"response": 0.5}),
    ("half of samples_per_prompt", {"samples": 0.5}),
    ("half of eval.samples", {"questions": 0.5}),
    ("rl.kl_coef=0", {"kl": 0}),
)
"""Changes that leave the number of updates alone."""


def biggest_lever(seconds: float, again: Again) -> tuple[str, float]:
    """The change of `LEVERS` that saves most, and the share of all seconds that it saves. Ours: each is tried."""
    saved = [(name, 1 - again(change) / seconds if seconds else 0.0) for name, change in LEVERS]
    return max(saved, key=lambda pair: pair[1])


def pulled(work: Workload, change: Mapping[str, Any]) -> Workload:
    """The workload with a lever pulled."""
    response, samples = change.get("response", 1.0), change.get("samples", 1.0)

    def less(each: Sampled | None, factor: float) -> Sampled | None:
        if each is None:
            return None
        return replace(
            each,
            samples=max(1, round(each.samples * factor)),
            response=max(1, round(each.response * response)),
            budget=max(1, round(each.budget * response)),
        )

    answers = work.row_tokens - work.prompt
    spoken = work.rollout is not None or work.traces is not None
    measured = less(work.measured, change.get("questions", 1.0))
    assert measured is not None
    return replace(
        work,
        rows=max(1, round(work.rows * samples)) if work.rollout is not None else work.rows,
        row_tokens=work.prompt + answers * response if spoken else work.row_tokens,
        rollout=less(work.rollout, samples),
        heldout=less(work.heldout, 1.0),
        traces=less(work.traces, samples),
        measured=measured,
        extra_passes=work.extra_passes - (1 if work.has_reference and change.get("kl") == 0 else 0),
        has_reference=work.has_reference and change.get("kl") != 0,
    )
