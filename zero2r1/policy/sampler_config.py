"""Which sampler, and its settings. No torch here, so that a recipe can be read and explained without it."""

from typing import Literal

from pydantic import Field, model_validator

from zero2r1.core.config import Strict
from zero2r1.policy.config import EngineConfig
from zero2r1.rewards.judges.config import EndpointConfig


class VllmConfig(Strict):
    """vLLM inside this process (an extra: docs/vllm.md)."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of vLLM's weights and arithmetic; the learner's are rounded to it. Ours: what vLLM is fastest in."""
    float32_head: bool = True
    """Compute logits in float32 from weights in `dtype`. Ours: a logit of 20 in bfloat16 is rounded to 1/8; the gap to
    the learner is smaller with it (docs/vllm.md has the figures)."""
    compiled: bool = False
    """Compile the network at the start. Ours: off; a minute at each start, for long runs."""
    max_slots: int = Field(default=128, ge=1)
    """Most sequences decoded at the same time. Ours: as the engine's."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a prompt with its response; None: the model's positions. Ours: the cache must hold one such
    sequence."""
    cache_gib: float = Field(default=4.0, gt=0)
    """Memory for keys and values. Ours: a fixed size, where vLLM would take most of what is free."""


class ServerConfig(Strict):
    """A running `vllm serve`. Its weights are its own: for evaluation and for sampling traces, not for training."""

    base_url: str
    """Address up to the version, e.g. `http://127.0.0.1:8000/v1`. Ours."""
    model: str = Field(min_length=1)
    """Name of the model on that server (`--served-model-name`). Ours."""
    key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the key; empty: none. Ours."""
    key_file: str = ""
    """File whose text is the key; empty: none. Ours."""
    timeout_s: float = Field(default=600.0, gt=0.0, le=3600.0)
    """Seconds one request may take in all. Ours: a long response on a slow machine."""
    concurrency: int = Field(default=32, ge=1, le=1024)
    """Requests under way at a time; the server batches them. Ours."""
    max_tokens: int = Field(default=4096, ge=2)
    """Most tokens of a prompt with its response (the server's `--max-model-len`). Ours."""
    max_gap_nats: float = Field(default=0.2, gt=0)
    """The server is refused when its log-probabilities of a prompt differ from the model's own by more than this on
    average. Ours: as `rl.max_gap_nats`; other weights measure more."""

    @model_validator(mode="after")
    def _is_an_endpoint(self) -> "ServerConfig":
        self.endpoint()
        return self

    def endpoint(self) -> EndpointConfig:
        """The same address under the rules of every server that is asked: no plain http to another machine."""
        return EndpointConfig(
            base_url=self.base_url, model=self.model, key_env=self.key_env, key_file=self.key_file,
            timeout_s=self.timeout_s, concurrency=self.concurrency,
        )  # fmt: skip


class SamplerConfig(Strict):
    """Who draws the samples of a stage."""

    backend: Literal["engine", "vllm", "vllm_server"] = "engine"
    """`engine`: the built-in one, on the learner's own network. `vllm`: a copy inside this process that follows the
    learner. `vllm_server`: a running server with fixed weights. Ours: the one without a copy."""
    engine: EngineConfig = EngineConfig()
    """Settings of `engine`."""
    vllm: VllmConfig = VllmConfig()
    """Settings of `vllm`."""
    server: ServerConfig | None = None
    """Settings of `vllm_server`."""

    @model_validator(mode="after")
    def _server_is_named(self) -> "SamplerConfig":
        if self.backend == "vllm_server" and self.server is None:
            raise ValueError("backend vllm_server needs server.base_url and server.model")
        return self
