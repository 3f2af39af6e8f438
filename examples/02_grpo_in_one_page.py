"""GRPO on one page: a tiny network made from nothing learns to say digits, in seconds on a CPU.

    python examples/02_grpo_in_one_page.py

Reasoning cannot be learnt from random weights, digits can: the reward is the share of digits in the reply. Everything
else is what the big runs use: the engine samples, the reward judges, the generator credits, the learner learns.
"""

from itertools import islice

from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Prompt, Score, Verdict
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.models.config import TinyConfig
from zero2r1.models.load import set_template
from zero2r1.models.tiny import make_tiny
from zero2r1.models.tokenizer import make_tokenizer
from zero2r1.policy.engine import Engine
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Reference, grpo
from zero2r1.tasks.base import TaskConfig, make_task

STEPS = 30


def share_of_digits(prompt: Prompt, completion: Completion) -> Score:
    """1.0 for a reply of digits alone, 0.0 for one without any."""
    text = completion.text
    share = sum(character.isdigit() for character in text) / len(text) if text else 0.0
    return Score(value=share, verdict=Verdict.WRONG, parts={"digits": share})


def main() -> None:
    task = make_task([TaskConfig(family="arithmetic", languages=("en",))], seed=0)
    tokenizer = make_tokenizer([prompt.question for prompt in task.draw(500)], vocab_size=300)
    set_template(tokenizer, "plain")
    model = make_tiny(TinyConfig(hidden_size=32, num_layers=2, intermediate_size=64, vocab_size=300), tokenizer, seed=0)

    learner = Learner(model, LearnerConfig(lr=1e-2), total_steps=STEPS)
    updates = grpo(
        policy=Engine(learner.model, tokenizer),
        learner=learner,
        reference=Reference(),
        task=task,
        reward=share_of_digits,
        config=RLConfig(steps=STEPS, prompts_per_step=4, samples_per_prompt=8, minibatches=1, max_new_tokens=8),
        address_of=lambda rollout: Address(seed=0, stage="example", step=rollout),
    )
    # The generator never ends and logs nothing; whoever calls it decides both.
    for update in islice(updates, STEPS):
        if update.step == 1 or update.step % 10 == 0:
            print(f"update {update.step:3d}   reward {update.metrics['reward/mean']:.2f}")


if __name__ == "__main__":
    main()
