"""TRL's GRPOTrainer as a peer: one request is one full step (sampling, reward, update).

Settings (first request): model, dtype, threads, questions, samples, max_new_tokens, is_forced (no early stop), lr,
beta2, grad_clip, epsilon, is_autocast (transformers' `bf16`), device_batch (rows of one pass), continuous (null, or the
settings of continuous batching as the way to sample).

Requests:

    {"do": "step"}  -> seconds, lengths, loss, grad_norm (before clipping), rows (prompt, reply, advantage of each)
    {"do": "loss"}  with rows as above and `old`, the log-probabilities of each reply -> loss, grad_norm; no update

The trainer's own loop runs; requests are waited for between its steps, so a step is what it is for a user. No logging,
no saving, no reference model.
"""

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from protocol import Line
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from workload import coin, turn

MOST_STEPS = 1_000_000
NO_TOKEN = -1


def main() -> None:
    """Trains for as long as there are requests."""
    line = Line()
    settings = line.receive()
    assert settings is not None
    torch.set_num_threads(settings["threads"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(settings, folder)
        trainer.add_callback(Stepping(trainer, line))
        trainer.train()


class Recording(GRPOTrainer):
    """Keeps what each pass of a step was given, and the step's loss and gradient norm."""

    def watch(self) -> None:
        """From now on."""
        self.seen: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.norm = 0.0
        clip = self.accelerator.clip_grad_norm_

        def clip_and_keep(*arguments: Any, **named: Any) -> Any:
            norm = clip(*arguments, **named)
            self.norm = float(norm)
            return norm

        self.accelerator.clip_grad_norm_ = clip_and_keep

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        loss = super()._compute_loss(model, inputs)
        self.seen.append(inputs)
        self.losses.append(float(loss.detach()))
        return loss


def make_trainer(settings: dict[str, Any], folder: str) -> Recording:
    """The settings that were quickest on a CPU; the loss and the optimizer are ours to the letter."""
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=settings["dtype"], attn_implementation="sdpa")
    questions = settings["questions"]
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in questions]
    num_rows = len(questions) * settings["samples"]
    continuous = settings["continuous"]
    limit = settings["max_new_tokens"]
    forced = {"eos_token_id": NO_TOKEN} if continuous else {"min_new_tokens": limit}
    arguments = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=settings["is_autocast"],
        per_device_train_batch_size=settings["device_batch"],
        gradient_accumulation_steps=num_rows // settings["device_batch"],
        gradient_checkpointing=False,
        num_generations=settings["samples"],
        generation_batch_size=num_rows,
        num_iterations=1,
        max_completion_length=limit,
        generation_kwargs=forced if settings["is_forced"] else None,
        use_transformers_continuous_batching=continuous is not None,
        transformers_continuous_batching_config=continuous,
        shuffle_dataset=False,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=0.0,
        epsilon=settings["epsilon"],
        loss_type="grpo",
        scale_rewards="group",
        optim="adamw_torch_fused",
        learning_rate=settings["lr"],
        lr_scheduler_type="constant",
        adam_beta2=settings["beta2"],
        weight_decay=0.0,
        max_grad_norm=settings["grad_clip"],
        max_steps=MOST_STEPS,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )

    def reward(completions: list[list[dict[str, str]]], **_: Any) -> list[float]:
        return [coin(said[-1]["content"]) for said in completions]

    trainer = Recording(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.watch()
    return trainer


class Stepping(TrainerCallback):
    """Waits for a request before each step and answers after it."""

    def __init__(self, trainer: Recording, line: Line) -> None:
        self._trainer, self._line = trainer, line
        self._began = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Says that all is loaded."""
        import trl

        self._line.send({"trl": trl.__version__, "torch": torch.__version__, "threads": torch.get_num_threads()})

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Answers questions about the loss until a step is asked for; ends the process when nothing is."""
        while (request := self._line.receive()) is not None and request["do"] == "loss":
            self._line.send(loss_of(self._trainer, request["rows"]))
        if request is None:
            raise SystemExit
        self._trainer.seen.clear()
        self._trainer.losses.clear()
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The step is done, the optimizer's part included."""
        seconds = time.perf_counter() - self._began
        trainer = self._trainer
        rows = [row for inputs in trainer.seen for row in rows_of(inputs)]
        lengths = [len(row["reply"]) for row in rows]
        figures = {"rows": rows, "loss": sum(trainer.losses), "grad_norm": trainer.norm}
        self._line.send(turn(lengths, seconds) | figures)


def rows_of(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Prompt, reply and advantage of each row of one pass."""
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")
    columns = zip(*(inputs[name] for name in names), strict=True)
    return [
        {
            "prompt": prompt[is_prompt.bool()].tolist(),
            "reply": reply[is_reply.bool()].tolist(),
            "advantage": float(advantage),
        }
        for prompt, is_prompt, reply, is_reply, advantage in columns
    ]


def loss_of(trainer: Recording, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Loss and gradient norm of rows with given old log-probabilities, all in one pass."""
    prompts, replies = [row["prompt"] for row in rows], [row["reply"] for row in rows]
    old = [row["old"] for row in rows]
    inputs = {
        "prompt_ids": padded(prompts, trainer.processing_class.pad_token_id, is_left=True),
        "prompt_mask": padded([[1] * len(one) for one in prompts], 0, is_left=True),
        "completion_ids": padded(replies, trainer.processing_class.pad_token_id, is_left=False),
        "completion_mask": padded([[1] * len(one) for one in replies], 0, is_left=False),
        "advantages": torch.tensor([row["advantage"] for row in rows]),
        "old_per_token_logps": padded(old, 0.0, is_left=False),
        "num_items_in_batch": torch.tensor(sum(map(len, replies))),
    }
    trainer.model.zero_grad()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([one.grad for one in trainer.model.parameters() if one.grad is not None])
    trainer.model.zero_grad()
    return {"loss": float(loss.detach()), "grad_norm": float(norm)}


def padded(rows: list[list[Any]], fill: float, *, is_left: bool) -> torch.Tensor:
    """[rows, longest], filled up on one side."""
    width = max(map(len, rows))
    return torch.tensor(
        [[fill] * (width - len(row)) + row if is_left else row + [fill] * (width - len(row)) for row in rows]
    )


if __name__ == "__main__":
    main()
