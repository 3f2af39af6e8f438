"""transformers as a peer: `generate` on one padded batch, or continuous batching with `generate_batch`.

Settings (first request): model (a directory) or shape (a name of `shapes`), dtype, mode (`generate` or `continuous`),
attention, threads, device (cpu unless given), batching (of `ContinuousBatchingConfig`), is_persistent (the manager with
its cache and its graphs is kept from request to request, so all must ask for the same amount of work).
Requests: prompts [P][T] token ids, samples, max_new_tokens, is_forced (no early stop). Answers: seconds and lengths.
With `batching` a request changes the settings of continuous batching from now on, and is answered with `error` when
they do not work.
"""

import time
from dataclasses import fields
from typing import Any

import torch
from protocol import Line
from shapes import make
from transformers import AutoModelForCausalLM, GenerationConfig
from workload import turn

NO_TOKEN = -1


def main() -> None:
    """Loads the model and answers until there are no more requests."""
    line = Line()
    settings = line.receive()
    assert settings is not None
    torch.set_num_threads(settings["threads"])
    model = load(settings)
    line.send({"torch": torch.__version__, "threads": torch.get_num_threads()})
    work = {"generate": generate, "continuous": continuous}[settings["mode"]]
    while (request := line.receive()) is not None:
        line.send(try_out(model, request, settings) if "batching" in request else work(model, request, settings))


def load(settings: dict[str, Any]) -> Any:
    """The model, on its device."""
    device = settings.get("device", "cpu")
    if "shape" in settings:
        return make(settings["shape"], attention=settings["attention"], device=device, dtype=settings["dtype"])
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=settings["dtype"], attn_implementation=settings["attention"]
    )
    return model.eval().to(device)


def try_out(model: Any, request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """A rollout with other settings of continuous batching."""
    settings["batching"] = request["batching"]
    if settings.get("is_persistent"):
        model.destroy_cached_continuous_batching_manager()
    try:
        return continuous(model, request, settings)
    except Exception as problem:  # noqa: BLE001  whatever it is, these settings are not to be had here
        return {"error": f"{type(problem).__name__}: {problem}"[:1000]}


def settle(model: Any) -> None:
    """Waits until the device has done all it was told."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()


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
        pad_token_id=model.generation_config.pad_token_id or 0,
    )


def generate(model: Any, request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """One padded batch, from the left; it runs until its last sample has ended."""
    rows = [row for row in request["prompts"] for _ in range(request["samples"])]
    config = _config(model, request)
    began = time.perf_counter()
    longest = max(map(len, rows))
    padded = torch.tensor([[config.pad_token_id] * (longest - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
    with torch.inference_mode():
        said = model.generate(input_ids=padded, attention_mask=mask, generation_config=config)[:, longest:]
    settle(model)
    seconds = time.perf_counter() - began
    end = config.eos_token_id
    lengths = [row.index(end) + 1 if end in row else len(row) for row in said.tolist()]
    return turn(lengths, seconds)


def continuous(model: Any, request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Paged cache, a finished sample makes room for the next token batch at once."""
    from transformers import ContinuousBatchingConfig

    batching = dict(settings["batching"])
    if "page_size" not in {one.name for one in fields(ContinuousBatchingConfig)}:  # its name up to 5.17
        batching["block_size"] = batching.pop("page_size")
    rows = [row for row in request["prompts"] for _ in range(request["samples"])]
    began = time.perf_counter()
    outputs = model.generate_batch(
        rows,
        generation_config=_config(model, request),
        continuous_batching_config=ContinuousBatchingConfig(**batching),
        progress_bar=False,
        **({"persistent_manager": True} if settings.get("is_persistent") else {}),
    )
    settle(model)
    seconds = time.perf_counter() - began
    if len(outputs) != len(rows):  # it logs what went wrong and returns fewer
        raise RuntimeError(f"{len(outputs)} of {len(rows)} samples came back")
    if wrong := next((output.error for output in outputs.values() if output.error), None):
        raise RuntimeError(f"a sample failed: {wrong}")
    return turn([len(output.generated_tokens) for output in outputs.values()], seconds)


if __name__ == "__main__":
    main()
