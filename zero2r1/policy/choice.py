"""The sampler that a recipe names, opened for a model and closed afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.models.recording import Recording
from zero2r1.policy.base import Policy
from zero2r1.policy.engine import Engine
from zero2r1.policy.sampler_config import SamplerConfig


@contextmanager
def open_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: SamplerConfig,
    recording: Recording | None = None,
) -> Iterator[Policy]:
    """A policy that speaks with this model's weights; what it started ends on leaving.

    Args:
        recording: for the built-in engine; others leave it empty.

    Raises:
        MissingExtraError: the backend is not installed (Z201).
        RunError: the backend does not hold the model's weights (Z317).
        ModelError: a server gives no completions (Z200).
    """
    if config.backend == "vllm":
        from zero2r1.policy.vllm import open_vllm

        with open_vllm(model, tokenizer, config.vllm) as policy:
            yield policy
    elif config.backend == "vllm_server":
        from zero2r1.policy.vllm_server import VllmServerPolicy

        assert config.server is not None  # `SamplerConfig` holds this
        yield VllmServerPolicy(model, tokenizer, config.server)
    else:
        yield engine_for(model, tokenizer, config, recording)


def engine_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: SamplerConfig,
    recording: Recording | None = None,
) -> Engine:
    """The built-in engine with its settings."""
    return Engine(model, tokenizer, **config.engine.model_dump(), recording=recording)
