"""Settings of the built-in sampler. No torch here, so that a recipe can be read and explained without it."""

from typing import Literal

from pydantic import Field

from zero2r1.core.config import Strict

MAX_SLOTS = 128
MAX_TOKENS_IN_CACHE = 65_536
PREFILL_TOKENS = 2048


class EngineConfig(Strict):
    """What the engine may use, and how it checks what it samples from. None of it changes a token in float32."""

    max_slots: int = Field(default=MAX_SLOTS, ge=1)
    """Most sequences decoded at the same time. Ours: the paper states none."""
    max_tokens_in_cache: int = Field(default=MAX_TOKENS_IN_CACHE, ge=1)
    """Most tokens whose keys and values are held, in whole pages of 16. Ours: a fixed number and not a share of the
    free memory, so that a run preempts the same sequences on every machine."""
    prefill_tokens: int = Field(default=PREFILL_TOKENS, ge=1)
    """Most tokens of prompts that go through the network between two decoding steps; longer prompts are read in
    pieces. Ours: bounds how long those who speak wait for those who come."""
    recompute_hash: bool = True
    """Before each call, hash the weights and compare (about 1 s per GB). When false only the version counters of the
    tensors are compared: free, but blind to changes made through `.data`. Ours."""
    kernels: Literal["auto", "off"] = "auto"
    """`auto`: sample with code compiled on this machine (C++ for a CPU, Triton for a GPU) where there is a compiler and
    the architecture is known. `off`: through transformers alone. Ours: the same numbers up to rounding, several times
    faster on a CPU."""
