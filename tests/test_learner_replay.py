"""The first update of a rollout reads what sampling computed: to the bit what it would have computed itself."""

from functools import partial
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learning_world import CountingTask, address, reward_by, same, state_of
from policy_world import ADDRESS, llama, prompts, tokenizer

from zero2r1.core.types import Credited, Score, Scored, Verdict
from zero2r1.learner import learner as learning
from zero2r1.learner.config import LearnerConfig, LoraConfig
from zero2r1.learner.learner import Learner
from zero2r1.learner.replaying import COMPUTED_FRAC, spared
from zero2r1.models import logprobs
from zero2r1.models.kernels.ops import local_kernels
from zero2r1.models.recording import Layout, Recording
from zero2r1.models.tiny import TinyConfig, make_tiny
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.rl.batch import to_batch
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Reference, Update, grpo
from zero2r1.rl.loss import PolicyLoss


def qwen(made):
    """Qwen3, which norms its heads, with heads wide enough to be compiled."""
    return make_tiny(
        TinyConfig(
            hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=48, max_positions=128,
            vocab_size=len(made),
        ),
        made,
        seed=1,
    )  # fmt: skip


MAKERS = {"llama": llama, "qwen": qwen}
LOSS = PolicyLoss(kl_coef=0.0)


pytestmark = pytest.mark.usefixtures("kernels")


def has_bfloat16_products():
    return torch.bfloat16 in local_kernels().products.dtypes


def world(make=llama, *, gib=0.1, dtype="float32", lora=None, **engine):
    """A learner, the recording of its rollouts and the engine that samples them."""
    made = tokenizer()
    settings = LearnerConfig(lr=1e-2, micro_tokens=10**6, compute_dtype=dtype, lora=lora)
    learner, recording = Learner(make(made), settings, total_steps=10), Recording(gib)
    return learner, recording, Engine(learner.model, made, recording=recording, **engine)


def sampled(engine, recording, *, temperature=1.0, stop=(), tokens=12, count=5):
    sampling = Sampling(max_new_tokens=tokens, temperature=temperature, stop=stop)
    with recording.open():
        return engine.sample(prompts(count), 4, sampling=sampling, address=ADDRESS)


def batch_of(groups, *, temperature=1.0):
    """Every other sample of a prompt is praised."""
    rows = [
        Credited(
            scored=Scored(completion=one, score=Score(value=1.0, verdict=Verdict.RIGHT, parts={})),
            advantage=(-1.0) ** one.sample * (1 + one.sample),
        )
        for group in groups
        for one in group
    ]
    config = RLConfig(kl_coef=0.0, minibatches=1, temperature=temperature, max_new_tokens=12)
    return to_batch(rows, config, max_new_tokens=12)


@pytest.fixture
def _all_are_read(monkeypatch):
    """No row is computed for comparison, so that passes with and without a recording are the same rows."""
    monkeypatch.setattr(learning, "spared", lambda found, turn: [i for i, is_there in enumerate(found) if is_there])


def same_update(make=llama, *, temperature=1.0, stop=(), dtype="float32", **engine):
    """The share that was read, after a step with the recording gave the bits of one without it."""
    reader, recording, policy = world(make, dtype=dtype, **engine)
    batch = batch_of(sampled(policy, recording, temperature=temperature, stop=stop), temperature=temperature)
    assert policy.arithmetic == "compiled"
    computer = world(make, dtype=dtype)[0]
    read, computed = reader.step(batch, LOSS, recording), computer.step(batch, LOSS)
    for name in ("loss", "grad_norm", "entropy/mean", "ratio/max"):
        assert read[name] == computed[name]
    mine, theirs = reader.model.state_dict(), computer.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    return read["replayed"]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.usefixtures("_all_are_read")
def test_an_update_that_reads_is_the_one_that_computes(make, temperature):
    assert same_update(MAKERS[make], temperature=temperature) == 1.0


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.usefixtures("_all_are_read")
def test_the_same_in_bfloat16(make):
    if not has_bfloat16_products():
        pytest.skip("no products of bfloat16 here")
    assert same_update(MAKERS[make], dtype="bfloat16") == 1.0


@pytest.mark.usefixtures("_all_are_read")
def test_prompts_in_pieces_and_few_slots_are_recorded_too():
    assert same_update(prefill_tokens=5, max_slots=3) == 1.0


@pytest.mark.usefixtures("_all_are_read")
def test_who_was_put_back_is_read_where_it_was_computed_again():
    talkative = partial(llama, num_end_tokens=1)
    reader, recording, policy = world(talkative, max_tokens_in_cache=160)
    batch = batch_of(sampled(policy, recording, tokens=60))
    assert policy.stats.preemptions > 0
    read, computed = reader.step(batch, LOSS, recording), world(talkative)[0].step(batch, LOSS)
    assert read["replayed"] > 0.5  # the others found no room: passes of their own, summed in another order
    for name in ("loss", "grad_norm", "entropy/mean", "ratio/max"):
        assert read[name] == pytest.approx(computed[name], rel=1e-5, abs=1e-6)


@pytest.mark.usefixtures("_all_are_read")
def test_logits_over_several_chunks(monkeypatch):
    monkeypatch.setattr(logprobs, "KEPT_BYTES", 0)
    monkeypatch.setattr(logprobs, "MAX_LOGITS", 2**11)
    assert same_update() == 1.0


def test_some_rows_are_computed_and_the_gap_is_theirs():
    learner, recording, engine = world()
    batch = batch_of(sampled(engine, recording))
    for row in batch.rows[:3]:
        row.streams["old"][row.loss_mask] += 0.25
    gaps = [world()[0].step(batch, LOSS)["gap/max"]]
    learner.attempts = 18 - 1  # of 20 rows, one in turn is computed: the 19th, whose log-probabilities are its own
    figures = learner.step(batch, LOSS, recording)
    gaps.append(figures["gap/max"])
    assert gaps == [pytest.approx(0.25, abs=1e-5), pytest.approx(0.0, abs=1e-5)]
    said = [int(row.loss_mask.sum()) for row in batch.rows]
    assert figures["replayed"] == pytest.approx(1 - said[18] / sum(said))


def test_other_arithmetic_in_the_sampler_shows_in_the_gap(monkeypatch):
    learner, recording, engine = world()
    attend = type(engine._kernels.attention).attend
    monkeypatch.setattr(type(engine._kernels.attention), "attend", lambda *a, **k: attend(*a, **k) * 1.5)
    batch = batch_of(sampled(engine, recording))
    monkeypatch.undo()
    figures = learner.step(batch, LOSS, recording)
    assert figures["replayed"] > 0.5 and figures["gap/mean"] > 1e-3  # noqa: PT018


def test_a_sampler_with_stale_weights_shows_in_the_gap(monkeypatch):
    learner, recording, engine = world()
    learner.step(batch_of(sampled(engine, recording)), LOSS)  # the engine is not told, and its guard is taken away
    monkeypatch.setattr(Engine, "_refuse_stale_weights", lambda self: None)
    figures = learner.step(batch_of(sampled(engine, recording)), LOSS, recording)
    assert figures["replayed"] > 0.5 and figures["gap/mean"] > 0.02  # noqa: PT018


def test_nothing_is_read_after_the_weights_changed():
    learner, recording, engine = world()
    batch = batch_of(sampled(engine, recording))
    assert recording.is_of(learner.model)
    learner.step(batch, LOSS, recording)
    assert not recording.is_of(learner.model)
    assert learner.step(batch, LOSS, recording)["replayed"] == 0.0


def test_what_another_model_computed_is_not_read():
    _, recording, engine = world()
    batch = batch_of(sampled(engine, recording))
    assert world()[0].step(batch, LOSS, recording)["replayed"] == 0.0


@pytest.mark.parametrize("case", ["closed", "small", "lora", "transformers"])
def test_what_is_not_recorded_is_computed(case):
    given = {"small": {"gib": 1e-5}, "lora": {"lora": LoraConfig(rank=2)}, "transformers": {"kernels": "off"}}
    if case == "lora":
        pytest.importorskip("peft")
    learner, recording, engine = world(**given.get(case, {}))
    if case == "closed":
        groups = engine.sample(prompts(3), 4, sampling=Sampling(max_new_tokens=12), address=ADDRESS)
    else:
        groups = sampled(engine, recording)
    assert recording.used == 0
    assert learner.step(batch_of(groups), LOSS, recording)["replayed"] == 0.0


def test_feed_forwards_with_biases_are_computed():
    def biased(made):
        config = llama(made).config
        config.mlp_bias = True
        return type(llama(made))(config).eval()

    learner, recording, engine = world(biased)
    figures = learner.step(batch_of(sampled(engine, recording)), LOSS, recording)
    assert figures["replayed"] == 0.0


def test_two_calls_of_one_rollout_are_one_recording_where_the_room_is_left():
    learner, recording, engine = world()
    sampling = Sampling(max_new_tokens=12)
    with recording.open():
        first = engine.sample(prompts(3), 4, sampling=sampling, address=ADDRESS)
        used = recording.used
        engine.sample(prompts(3), 2, sampling=sampling, address=ADDRESS)
    assert 0 < used <= recording.used
    assert learner.step(batch_of(first), LOSS, recording)["replayed"] > 0.5


def test_a_stop_text_and_choices_of_the_likeliest():
    learner, recording, engine = world()
    sampling = Sampling(max_new_tokens=12, temperature=0.0)
    with recording.open():
        groups = engine.sample(prompts(3), 4, sampling=sampling, address=ADDRESS)
    figures = learner.step(batch_of(groups), LOSS, recording)  # states are read, logits are not: none were drawn from
    assert figures["replayed"] > 0.5
    assert figures["gap/mean"] >= 0.0


def ran(learner, recording, engine, updates, reference, start=None) -> list[Update]:
    found = grpo(
        policy=engine, learner=learner, reference=reference, task=CountingTask(), recording=recording, start=start,
        reward=reward_by(lambda said: float(sum(said.token_ids) % 3)), address_of=address,
        config=RLConfig(
            prompts_per_step=4, samples_per_prompt=6, minibatches=1, max_new_tokens=12, kl_coef=0.05, std_epsilon=1e-4
        ),
    )  # fmt: skip
    return list(islice(found, updates))


def test_a_run_that_stops_between_rollouts_ends_with_the_same_bits():
    whole, stopped, reference = world(), world(), Reference()
    expected = ran(*whole, 4, Reference())
    assert all(0.8 < update.metrics["replay/frac"] < 1.0 for update in expected)
    assert all(update.metrics["gap/max"] <= 1e-5 for update in expected)
    first = ran(*stopped, 2, reference)
    learner, recording = stopped[0], Recording(0.1)
    again = Engine(learner.model, tokenizer(), recording=recording)
    rest = ran(learner, recording, again, 2, reference, first[-1].cursor)
    assert [update.metrics for update in first + rest] == [update.metrics for update in expected]
    assert same(state_of(learner), state_of(whole[0]))


def test_with_a_recording_a_run_is_the_same_up_to_rounding():
    with_one, without = world(), world()
    read, computed = ran(*with_one, 1, Reference()), ran(without[0], None, without[2], 1, Reference())
    for name in ("loss", "grad_norm", "kl/mean", "entropy/mean", "tokens"):
        assert read[0].metrics[name] == pytest.approx(computed[0].metrics[name], rel=1e-5, abs=1e-6)


def test_the_layout_by_hand():
    learner, recording, engine = world()
    sampled(engine, recording)
    # llama of `policy_world`: 3 layers, width 48, 3 heads and 1 key head of 16, feed-forward 64, 288 words
    layout = Layout(3, (48 + 16 + 16, 48, 48, 128, 48), learner.model.config.vocab_size, torch.float32)
    assert recording._layout == layout
    assert layout.bytes_per_token == (3 * 352 + learner.model.config.vocab_size) * 4 + 8


@given(st.lists(st.booleans(), max_size=70), st.integers(0, 10**4))
def test_all_but_a_few_recorded_rows_are_spared(recorded, turn):
    there = {index for index, is_there in enumerate(recorded) if is_there}
    found = spared(recorded, turn=turn)
    count = min(len(there), max(1, round(len(there) * COMPUTED_FRAC)))
    assert set(found) <= there
    assert len(found) == len(set(found)) == len(there) - count


def test_every_row_is_computed_in_some_turn():
    missing = [set(range(64)) - set(spared([True] * 64, turn=turn)) for turn in range(16)]
    assert set.union(*missing) == set(range(64))
    assert all(len(one) == 4 for one in missing)
