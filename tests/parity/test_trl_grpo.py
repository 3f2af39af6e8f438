"""Loss and gradient of our algorithms against TRL's GRPOTrainer, on the same weights and the same tokens.

TRL runs the network through transformers' own attention on padded rows, ours runs packed rows through our attention: so
the network halves are compared too. Needs the extra `parity`.
"""

import math

import pytest
import torch
from learning_world import batch, learner, row, tokenizer

from zero2r1.models.load import save_model
from zero2r1.rl.batch import token_weights
from zero2r1.rl.loss import PolicyLoss

pytest.importorskip("trl")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CAP = 8
PROMPTS = [[11, 12, 13], [21, 22], [31, 32, 33, 34, 35], [41]]
REPLIES = [[60, 61, 62, 63], [70], [80, 81, 82, 83, 84, 85], [90, 91]]
ADVANTAGES = [1.3, -0.7, -1.1, 0.6]


def noise(seed: int, scale: float) -> list[list[float]]:
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(len(reply), generator=generator)).tolist() for reply in REPLIES]


def padded(rows, *, left: bool, fill=0) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[fill] * (width - len(r)) + r if left else r + [fill] * (width - len(r)) for r in rows])


def ours(subject, streams, *, aggregation: str, loss: PolicyLoss):
    """Loss and gradient of one step of the learner."""
    weights = token_weights([len(reply) for reply in REPLIES], aggregation=aggregation, max_new_tokens=CAP)
    rows = [
        row(
            PROMPTS[i] + REPLIES[i],
            prompt=len(PROMPTS[i]),
            weight=weights[i],
            advantage=[ADVANTAGES[i]] * len(REPLIES[i]),
            old=streams["old"][i],
            reference=streams["reference"][i],
        )
        for i in range(len(REPLIES))
    ]
    caught: dict[str, torch.Tensor] = {}
    subject.optimizer.apply = lambda **_: caught.update(
        {name: parameter.grad.clone() for name, parameter in subject.model.named_parameters()}
    )
    return subject.step(batch(rows), loss)["loss"], caught


def theirs(folder, streams, settings):
    """TRL's loss and gradient on the same rows."""
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from trl import GRPOConfig, GRPOTrainer

    arguments = GRPOConfig(
        output_dir=str(folder / "out"), use_cpu=True, bf16=False, report_to=[], max_completion_length=CAP,
        per_device_train_batch_size=4, num_generations=4, gradient_accumulation_steps=1, steps_per_generation=1,
        gradient_checkpointing=False, use_bias_correction_kl=False, **settings,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=str(folder / "hf"),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=Dataset(InMemoryTable.from_pydict({"prompt": ["1"]}), fingerprint="never drawn from"),
        processing_class=tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    loss = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": padded(PROMPTS, left=True),
            "prompt_mask": padded([[1] * len(one) for one in PROMPTS], left=True),
            "completion_ids": padded(REPLIES, left=False),
            "completion_mask": padded([[1] * len(one) for one in REPLIES], left=False),
            "advantages": torch.tensor(ADVANTAGES),
            "old_per_token_logps": padded(streams["old"], left=False, fill=0.0),
            "ref_per_token_logps": padded(streams["reference"], left=False, fill=0.0),
            "num_items_in_batch": torch.tensor(sum(map(len, REPLIES))),
        },
    )
    loss.backward()
    return float(loss), {name: parameter.grad for name, parameter in trainer.model.named_parameters()}


CASES = {
    "grpo": (
        {"loss_type": "grpo", "beta": 0.04, "epsilon": 0.2},
        "sequence_mean",
        PolicyLoss(clip_low=0.2, clip_high=0.2, kl_coef=0.04),
    ),
    "grpo with the paper's numbers": (
        {"loss_type": "grpo", "beta": 0.001, "epsilon": 10.0},
        "sequence_mean",
        PolicyLoss(clip_low=10.0, clip_high=10.0, kl_coef=0.001),
    ),
    "dr_grpo": (
        {"loss_type": "dr_grpo", "beta": 0.0, "epsilon": 0.2},
        "constant",
        PolicyLoss(clip_low=0.2, clip_high=0.2, kl_coef=0.0),
    ),
    "dapo": (
        {"loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28},
        "token_mean",
        PolicyLoss(clip_low=0.2, clip_high=0.28, kl_coef=0.0),
    ),
    "gspo": (
        {"loss_type": "grpo", "beta": 0.0, "epsilon": 3e-4, "epsilon_high": 4e-4,
         "importance_sampling_level": "sequence"},
        "sequence_mean",
        PolicyLoss(ratio="sequence", clip_low=3e-4, clip_high=4e-4, kl_coef=0.0),
    ),
    "cispo": (
        {"loss_type": "cispo", "beta": 0.0, "epsilon_high": 1.1},  # TRL's bound is absolute, ours is 1 + clip_high
        "token_mean",
        PolicyLoss(objective="cispo", clip_low=1.0, clip_high=0.1, kl_coef=0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_equal_trls(case, tmp_path):
    settings, aggregation, loss = CASES[case]
    subject = learner(grad_clip=0.0)
    save_model(subject.model, tokenizer(), tmp_path / "hf")
    now = subject.logprobs(batch([row(p + r, prompt=len(p)) for p, r in zip(PROMPTS, REPLIES, strict=True)]))
    said = [values[len(prompt) :].tolist() for values, prompt in zip(now, PROMPTS, strict=True)]
    near = {"old": noise(1, 0.3), "reference": noise(2, 0.5)}
    streams = {
        name: [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(said, rows, strict=True)]
        for name, rows in near.items()
    }
    our_loss, our_gradient = ours(subject, streams, aggregation=aggregation, loss=loss)
    their_loss, their_gradient = theirs(tmp_path, streams, settings)
    assert our_loss == pytest.approx(their_loss, abs=1e-5)
    assert our_gradient.keys() == their_gradient.keys()
    norm = math.sqrt(sum(float(value.square().sum()) for value in their_gradient.values()))
    assert norm > 1e-3
    for name, value in our_gradient.items():
        torch.testing.assert_close(value, their_gradient[name], rtol=0, atol=1e-5 * norm, msg=name)
