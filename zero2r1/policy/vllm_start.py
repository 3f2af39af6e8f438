"""Starting vLLM inside this process, without weights on disk, telemetry, or anything that listens beyond 127.0.0.1.

vLLM is given the model's shape (config.json and tokenizer in a folder that is gone afterwards) and dummy weights; the
real ones come from `VllmPolicy.follow`, so there is one way in and it is verified.

Deviation from vLLM's defaults: its engine runs in this process and not in one of its own (so weights are handed over
without being serialised), log-probabilities are those at the sampling temperature (its default is before it), and the
cache for keys and values has a fixed size.
"""

import copy
import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import MissingExtraError
from zero2r1.policy.sampler_config import VllmConfig

DTYPES: Mapping[str, torch.dtype] = MappingProxyType({"float32": torch.float32, "bfloat16": torch.bfloat16})
ALWAYS: Mapping[str, str] = MappingProxyType(
    {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_LOOPBACK_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
)
"""Environment that vLLM is started in, whatever was there before: one process, no reports, loopback only."""
UNLESS_SET: Mapping[str, str] = MappingProxyType({"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_OMP_THREADS_BIND": "nobind"})
"""Environment that the user may set: quiet, and no binding of threads, which the learner shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A running vLLM."""

    llm: Any
    """`vllm.LLM`."""
    parameters: Callable[..., Any]
    """`vllm.SamplingParams`."""
    final_only: Any
    """`RequestOutputKind.FINAL_ONLY`: outputs are made once, when they are whole."""
    dtype: torch.dtype
    """Of its weights."""
    max_tokens: int
    """Most tokens of a prompt with its response."""
    end: Callable[[], None]
    """Ends it."""

    def close(self) -> None:
        """Ends it and gives its memory back; a second call does nothing."""
        self.end()


def start(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: VllmConfig) -> Started:
    """A vLLM for models of this shape, with random weights.

    Raises:
        MissingExtraError: vLLM is not installed (Z201).
    """
    with surroundings():
        try:
            from vllm import LLM, SamplingParams
            from vllm.sampling_params import RequestOutputKind
        except ImportError as problem:
            raise MissingExtraError(
                "Z201",
                "vLLM is not installed in this environment",
                why=str(problem)[:200],
                fix="make .venv-vllm/.ready (docs/vllm.md), or sampler.backend=engine",
            ) from problem
        with tempfile.TemporaryDirectory(prefix="zero2r1-vllm-") as folder:
            write_shape(model, tokenizer, folder)
            positions = config.max_tokens or model.config.max_position_embeddings
            head = "float32" if config.float32_head else "model"
            llm = LLM(
                model=folder, tokenizer=folder, load_format="dummy", dtype=config.dtype, seed=0,
                enforce_eager=not config.compiled, max_model_len=positions, max_num_seqs=config.max_slots,
                kv_cache_memory_bytes=int(config.cache_gib * 2**30), logprobs_mode="processed_logprobs",
                hf_overrides={"head_dtype": head}, generation_config="vllm", trust_remote_code=False,
                disable_log_stats=True,
            )  # fmt: skip
    running = [llm]
    return Started(
        llm=llm,
        parameters=SamplingParams,
        final_only=RequestOutputKind.FINAL_ONLY,
        dtype=DTYPES[config.dtype],
        max_tokens=positions,
        end=lambda: _end(running),
    )


def write_shape(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str) -> None:
    """config.json, with the name of the architecture, and the tokenizer."""
    shape = copy.deepcopy(model.config)
    shape.architectures = [type(model).__name__]
    shape.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def surroundings() -> Iterator[None]:
    """The environment vLLM is started in; what it changes in torch for the whole process is put back.

    `ALWAYS` stays set afterwards: vLLM reads it again while it runs.
    """
    os.environ.update(ALWAYS)
    for name, value in UNLESS_SET.items():
        os.environ.setdefault(name, value)
    set_num_threads, num_threads = torch.set_num_threads, torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads
        torch.set_num_threads(num_threads)


def _end(running: list[Any]) -> None:
    """Once: the engine first, then torch's process group, which vLLM leaves behind."""
    if not running:
        return
    from vllm.distributed import cleanup_dist_env_and_memory

    llm = running.pop()
    networks: list[nn.Module] = []
    llm.apply_model(networks.append)
    llm.llm_engine.engine_core.shutdown()
    del llm
    cleanup_dist_env_and_memory()
    for network in networks:
        empty(network)
    gc.collect()


def empty(network: nn.Module) -> None:
    """Takes every tensor and packed kernel out of a network that will not run again.

    Ours: vLLM 0.32 keeps modules in a table of its own once weights were reloaded, and each start would cost a model.
    """
    for module in network.modules():
        module.__dict__.pop("cpu_linear", None)
        module._parameters.clear()
        module._buffers.clear()
