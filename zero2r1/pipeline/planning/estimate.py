"""A recipe's plan: for each stage parameters, memory by term, seconds by phase, bytes on disk; and the biggest lever.

What it does not do: rewards judged elsewhere (worker processes, sandboxes, models, rewards of one's own), start-up, or
the time to load and save.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning import memory, sampling, storage
from zero2r1.pipeline.planning.recording import NOTHING, Recorded, recorded
from zero2r1.pipeline.planning.sampling import Site
from zero2r1.pipeline.planning.shapes import Shape, adapter_parameters
from zero2r1.pipeline.planning.texts import Texts
from zero2r1.pipeline.planning.timing import Speed, decode_phase_s
from zero2r1.pipeline.planning.workload import Sampled, Workload
from zero2r1.policy.config import EngineConfig
from zero2r1.stages.config import StageBase


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


def plan_stage(name: str, stage: StageBase, shape: Shape, texts: Texts, work: Workload, site: Site) -> StagePlan:
    """Everything about one stage."""
    learner, engine = stage.learner, sampling.limits_of(stage.sampler, shape)
    sampled = [each for each in (work.rollout, work.heldout, work.traces, work.measured) if each is not None]
    main = sampled[0]
    row = round(work.row_tokens)
    # The learner packs rows up to micro_tokens; a longer row is a pass of its own. Each device holds its own pass.
    pass_tokens = site.devices * min(max(learner.micro_tokens, row), round(work.learned_tokens))
    made = recorded(stage, work, shape, site.running)
    terms = memory.training_terms(
        shape, learner, pass_tokens=pass_tokens, has_reference=work.has_reference, running=site.running,
        is_read=bool(made.held),
    )  # fmt: skip
    terms["runtime"] = site.runtime
    terms["workspace"] = memory.WORKSPACE if site.budget is None else 0
    terms["recording"] = made.held
    slots, held = sampling.slots_and_terms(stage, sampled, shape, texts, terms, site, work.prompt)
    terms |= held
    needed = memory.peak(terms, keeps_sampler=work.rollout is not None or stage.sampler.backend != "engine")
    calls = Calls(
        speed=site.speed, engine=engine, text_s=texts.text_s, judge_s=texts.judge_s, prompt=work.prompt
    )  # fmt: skip
    update = update_phases(
        work, calls, slots, document_s=texts.document_s, micro_tokens=learner.micro_tokens, made=made
    )
    total = {phase: seconds * work.updates for phase, seconds in update.items()}
    for phase, each in (("traces", work.traces), ("evaluation", work.measured)):
        if each is not None:
            total[phase] = each.calls * calls.whole_s(each, slots[each]) + site.speed.layout_s()
    return StagePlan(
        name=name, kind=str(getattr(stage, "kind", "")), model=shape.name, parameters=shape.parameters,
        active=shape.active, updates=work.updates, response=main.response, slots=slots[main], update=update,
        total=total, memory=terms, peak=needed, disk=_disk(stage, shape, texts, work),
        notes=(
            *_notes(shape, texts, main, site, needed),
            *sampling.notes_of(stage, main, shape, texts),
            *_of_learner(shape, learner, terms),
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How long the parts of a call of the sampler take. Ours: the order of work in `policy/engine.py`."""

    speed: Speed
    engine: EngineConfig
    text_s: float
    """Seconds to turn one token of an answer into text."""
    judge_s: float
    """Seconds to judge an answer by rules."""
    prompt: float
    """Mean tokens of a prompt."""

    def prefill_s(self, sampled: Sampled, slots: int) -> float:
        """Seconds to read each prompt once, all but its last token, at most `prefill_tokens` at a time."""
        tokens = sampled.prompts * (self.prompt - 1)
        chunks = num_chunks(tokens, sampled.answers, slots, self.engine.prefill_tokens)
        return self.speed.prefill_s(tokens, self.prompt, chunks)

    def decode_s(self, lengths: Sequence[int], slots: int) -> float:
        """Seconds of all decoding steps."""
        return decode_phase_s(self.speed, lengths, slots, self.prompt)

    def answers_s(self, lengths: Sequence[int]) -> float:
        """Seconds to make texts of answers and to judge them: beside sampling, but under the same interpreter lock."""
        return sum(lengths) * self.text_s + len(lengths) * self.judge_s

    def hash_s(self) -> float:
        """Seconds to see that the weights are still the same."""
        return self.speed.hash_s() if self.engine.recompute_hash else 0.0

    def whole_s(self, sampled: Sampled, slots: int) -> float:
        """Seconds of one call over weights that are laid out."""
        lengths = [sampled.response] * sampled.answers
        return self.hash_s() + self.prefill_s(sampled, slots) + self.decode_s(lengths, slots) + self.answers_s(lengths)


def num_chunks(tokens: float | int, answers: int, slots: int, at_once: int) -> int:
    """max(ceil(tokens / at_once), ceil(answers / slots)) passes that read prompts.

    Ours: answers that wait for a slot have their prompts read when one is free.
    """
    return max(-(-round(tokens) // at_once), -(-answers // slots), 1)


def update_phases(
    work: Workload,
    calls: Calls,
    slots: Mapping[Sampled, int],
    *,
    document_s: float,
    micro_tokens: int,
    made: Recorded = NOTHING,
) -> dict[str, float]:
    """Seconds of one update by phase: layout, prefill, decode, answers, hash, recording, reference, update, held-out,
    data.

    A rollout's sampling counts for each of its updates in equal parts. After each rollout the weights are hashed, and
    before each call of the sampler where the engine is asked to.
    Ours: the order of work in `rl/grpo.py`, `stages/monitoring.py` and `stages/pretrain.py`.
    """
    speed = calls.speed
    update = {"update": speed.apply_s()}
    for share, learn_s in ((1 - made.read, speed.learn_s), (made.read, speed.replay_s)):
        if share:
            passes = num_passes(max(1, round(share * work.live * work.rows)), work.tokens / work.rows, micro_tokens)
            update["update"] += learn_s(share * work.learned_tokens, work.row_tokens, passes)
    if work.live < 1.0:
        update["update"] += speed.forward_s((1 - made.read) * (work.tokens - work.learned_tokens), work.row_tokens)
    if work.extra_passes:
        update["reference"] = work.extra_passes * speed.forward_s(work.tokens, work.row_tokens)
    if work.makes_documents:
        update["data"] = work.rows * document_s
    if work.rollout is not None:
        share = work.rollout.calls / work.updates
        lengths = [work.rollout.response] * work.rollout.answers
        update["layout"] = share * speed.layout_s()
        update["prefill"] = share * calls.prefill_s(work.rollout, slots[work.rollout])
        update["decode"] = share * calls.decode_s(lengths, slots[work.rollout])
        update["answers"] = share * calls.answers_s(lengths)
        if made.held:
            update["recording"] = share * speed.record_s(work.rollout.answers * work.rollout.response)
        update["hash"] = share * (speed.hash_s() + calls.hash_s())
    if work.heldout is not None:
        update["heldout"] = work.heldout.calls / work.updates * calls.whole_s(work.heldout, slots[work.heldout])
    return update


def num_passes(rows: int, row_tokens: float | int, micro_tokens: int) -> int:
    """ceil(rows / max(1, floor(micro_tokens / row_tokens))): whole rows are packed. Ours: as `models/packing.py`."""
    return -(-rows // max(1, int(micro_tokens // row_tokens)))


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
    return tuple(notes)


def _of_learner(shape: Shape, learner: LearnerConfig, terms: Mapping[str, int]) -> tuple[str, ...]:
    notes = []
    if learner.lora is not None:
        trained = adapter_parameters(shape, learner.lora)[0]
        notes.append(
            f"{trained:,} parameters of adapters are trained; the time is that of training all {shape.parameters:,}"
        )
    if terms["host"]:
        notes.append(f"{terms['host'] / 2**30:.1f} GiB of the hosts' memory hold the optimizer; its way is not timed")
    return tuple(notes)


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
