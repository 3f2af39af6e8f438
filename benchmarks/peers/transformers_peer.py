"""transformers as a peer: `generate` on one padded batch, or continuous batching with `generate_batch`.

Settings (first request): model, dtype, mode (`generate` or `continuous`), attention, threads, page_size.
Requests: prompts [P][T] token ids, samples, max_new_tokens, is_forced (no early stop). Answers: seconds and lengths.
"""

import time
from typing import Any

import torch
from protocol import Line
from transformers import AutoModelForCausalLM, GenerationConfig
from workload import turn

NO_TOKEN = -1


def main() -> None:
    """Loads the model and answers until there are no more requests."""
    line = Line()
    settings = line.receive()
    assert settings is not None
    torch.set_num_threads(settings["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=settings["dtype"], attn_implementation=settings["attention"]
    ).eval()
    line.send({"torch": torch.__version__, "threads": torch.get_num_threads()})
    work = {"generate": generate, "continuous": continuous}[settings["mode"]]
    while (request := line.receive()) is not None:
        line.send(work(model, request, settings))


def _config(model: Any, request: dict[str, Any]) -> GenerationConfig:
    """Sampling from the full distribution at temperature 1, to the natural end or to the last token."""
    limit = request["max_new_tokens"]
    ends = model.generation_config.eos_token_id
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=limit,
        eos_token_id=NO_TOKEN if request["is_forced"] else ends,
        pad_token_id=model.generation_config.pad_token_id,
    )


def generate(model: Any, request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """One padded batch, from the left; it runs until its last sample has ended."""
    rows = [row for row in request["prompts"] for _ in range(request["samples"])]
    config = _config(model, request)
    began = time.perf_counter()
    longest = max(map(len, rows))
    padded = torch.tensor([[config.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    with torch.inference_mode():
        said = model.generate(input_ids=padded, attention_mask=mask, generation_config=config)[:, longest:]
    seconds = time.perf_counter() - began
    end = config.eos_token_id
    lengths = [row.index(end) + 1 if end in row else len(row) for row in said.tolist()]
    return turn(lengths, seconds)


def continuous(model: Any, request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Paged cache, a finished sample makes room for the next token batch at once."""
    from transformers import ContinuousBatchingConfig

    rows = [row for row in request["prompts"] for _ in range(request["samples"])]
    began = time.perf_counter()
    outputs = model.generate_batch(
        rows,
        generation_config=_config(model, request),
        continuous_batching_config=ContinuousBatchingConfig(**settings["batching"]),
        progress_bar=False,
    )
    seconds = time.perf_counter() - began
    if len(outputs) != len(rows):  # it logs what went wrong and returns fewer
        raise RuntimeError(f"{len(outputs)} of {len(rows)} samples came back")
    return turn([len(output.generated_tokens) for output in outputs.values()], seconds)


if __name__ == "__main__":
    main()
