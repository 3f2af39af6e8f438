"""The settings of the judges: where the model is asked, and how votes are counted.

What is not here: keys. A key is named (an environment variable, a file), never written into a config.
"""

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from zero2r1.core.config import Strict

SET_BY_US = frozenset(
    {"messages", "model", "stream", "n", "seed", "temperature", "max_tokens", "max_completion_tokens"}
)
"""Keys of a request that have a setting of their own, or that the reader of replies relies on."""


class EndpointConfig(Strict):
    """A server with an OpenAI-compatible chat interface."""

    base_url: str
    """Address up to the version, e.g. `http://127.0.0.1:8000/v1`; `/chat/completions` is added. Ours."""
    model: str = Field(min_length=1)
    """Name of the model on that server. Source: DeepSeek-R1, RL stage 2 and B.2: DeepSeek-V3 is the judge."""
    key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the key; empty: none. Ours."""
    key_file: str = ""
    """File whose text is the key; empty: none. Ours."""
    allow_plain_http: bool = False
    """Allows `http://` to another machine: key and texts then travel readable. Ours: off."""
    timeout_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Seconds one request may take in all. Ours: a long explanation of a slow server."""
    retries: int = Field(default=4, ge=0, le=20)
    """Further tries after a failure that may pass (no connection, deadline, 408, 425, 429, 5xx). Ours."""
    base_wait_s: float = Field(default=1.0, ge=0.0)
    """Seconds before the first further try; doubles each time. Ours."""
    max_wait_s: float = Field(default=60.0, ge=0.0)
    """Longest wait between two tries; a server that asks for more (Retry-After) is given up. Ours."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Requests under way at a time. Ours."""
    max_tokens: int = Field(default=4096, ge=1)
    """Tokens of a reply. A reply that is cut off is no verdict. Ours."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls that limit. Ours: the older name is understood by more servers."""
    temperature: float | None = Field(default=0.0, ge=0.0)
    """Sampling temperature; null leaves it to the server. Ours: the paper states none for its judges."""
    send_seed: bool = True
    """Sends a seed with each request; off for servers that refuse it. Ours."""
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    """Further keys of the request, for what one server needs and others do not know. Ours."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, base_url: str) -> str:
        parts = urlsplit(base_url)  # a ValueError of its own for a broken IPv6 address
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address starts with https:// or http:// and names a host")
        if parts.port == 0:
            raise ValueError("there is no port 0")
        if "@" in parts.netloc:
            raise ValueError("no user or password in the address: use key_env or key_file")
        if parts.query or parts.fragment:
            raise ValueError("the address ends with its path: no '?' and no '#'")
        if any(ord(character) <= 32 or ord(character) > 126 for character in base_url):
            raise ValueError("the address holds a character that is not printable ASCII")
        return base_url

    @field_validator("extra_body")
    @classmethod
    def _adds_only(cls, extra_body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted(SET_BY_US & set(extra_body))
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        return extra_body

    @model_validator(mode="after")
    def _goes_together(self) -> "EndpointConfig":
        if self.key_env and self.key_file:
            raise ValueError("key_env and key_file are both set: which one is meant?")
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not self.allow_plain_http and not is_loopback(parts.hostname or ""):
            raise ValueError("http:// to another machine is refused: use https://, or set allow_plain_http")
        return self


class JudgeConfig(EndpointConfig):
    """A judge behind an endpoint. A local policy as the judge is given as an object, not by settings."""

    kind: Literal["endpoint"] = "endpoint"
    max_answer_chars: int = Field(default=20_000, ge=1)
    """A longer answer is not shown to the judge: it is wrong. Ours: the judge's context is finite."""


class PreferenceConfig(Strict):
    """How a pair of answers becomes a preference."""

    votes: int = Field(default=4, ge=1)
    """Verdicts asked for a pair. Source: DeepSeek-R1, helpful reward model: four."""
    min_votes: int = Field(default=3, ge=1)
    """Fewer usable verdicts than this are an error. Ours: the paper states none; one of four may fail."""
    margin: float = Field(default=1.0, ge=0.0)
    """A pair is kept when its mean score is further from 0 than this. Source: DeepSeek-R1, helpful reward model: 1."""
    order: Literal["random", "balanced"] = "random"
    """Which answer is shown as A. random: drawn for each vote (Source: DeepSeek-R1, helpful reward model). balanced:
    each answer is A in half of the votes, in random order (Ours): a judge that looks at the place only then scores 0.
    With random and four votes, one pair in eight has all its votes in one order and such a judge gets through."""
    max_answer_chars: int = Field(default=20_000, ge=1)
    """A pair with a longer answer is not judged: an error. Ours: the judge's context is finite."""

    @model_validator(mode="after")
    def _votes_suffice(self) -> "PreferenceConfig":
        if self.min_votes > self.votes:
            raise ValueError("min_votes is at most votes")
        return self


def is_loopback(host: str) -> bool:
    """True for this machine: `localhost`, 127.0.0.0/8 and ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
