"""A voice behind a server with an OpenAI-compatible chat interface.

A failure that may pass is tried again after a growing wait, or after the wait the server asks for. The key stands in
one request header and nowhere else: it is cut out of every reason and every reply, should the server write it back.

What is not here: streaming, tools, several choices in one request (`samples` are requests of their own, since not
every server knows `n`). HTTP itself is in `wire.py`.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from zero2r1.core.errors import ConfigError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Message, content_id
from zero2r1.rewards.judges.backoff import backoff_s, retry_after_s
from zero2r1.rewards.judges.config import EndpointConfig
from zero2r1.rewards.judges.voice import JudgeUnavailable
from zero2r1.rewards.judges.wire import Reply, WireError, post

MAX_REPLY_BYTES = 4 * 2**20
"""Ours: a longer reply is no reply of a chat server to a judge's question."""
PASSING = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""
EXCERPT_CHARS = 200
MIN_SECRET_CHARS = 8
"""Ours: shorter keys are the placeholders of local servers; cutting such a word out of a reply could spoil it."""
LOSSLESS = ("utf-8", "surrogateescape")
WHOLE = (None, "stop", "stop_sequence", "eos", "eos_token", "end_turn")
"""What servers call the regular end of a reply."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why one request gave no text."""

    reason: str
    is_passing: bool = False
    wait_s: float | None = None
    """What the server asks for."""


class EndpointVoice:
    """A `Voice` over HTTP. Usable from any thread; at most `config.concurrency` requests are under way at a time.

    Args:
        config: where and how.
        sleep: waits between two tries.

    Raises:
        ConfigError: the key cannot be had (Z105).
    """

    def __init__(self, config: EndpointConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._key = read_key(config)
        self._sleep = sleep
        self._turns = threading.BoundedSemaphore(config.concurrency)
        shaping = [config.base_url, config.model, config.max_tokens, config.temperature, config.send_seed]
        self._name = f"{config.model}#{content_id([*shaping, config.extra_body])[:8]}"

    @property
    def name(self) -> str:
        """The model, and a hash of the address and of every setting that shapes a reply."""
        return self._name

    def say(self, messages: Sequence[Message], *, samples: int = 1, seed: int = 0) -> list[str]:
        """See `Voice.say`."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        place = Address(seed=seed, stage="judge.request", step=0)
        return [self._ask(turns, key(place, sample) >> 33) for sample in range(samples)]

    def _ask(self, turns: list[dict[str, str]], seed: int) -> str:
        """One reply, after as many tries as the settings allow."""
        config = self.config
        body = self._body(turns, seed)
        jitter = Stream(key(Address(seed=seed, stage="judge.wait", step=0), content_id(turns)))
        reason = ""
        for attempt in range(config.retries + 1):
            with self._turns:  # not held while waiting, so that others may go on
                outcome = self._attempt(body)
            if isinstance(outcome, str):
                return outcome
            reason = outcome.reason
            if not outcome.is_passing:
                raise JudgeUnavailable(reason)
            if attempt < config.retries:
                own_s = backoff_s(attempt, jitter.random(), base_s=config.base_wait_s, cap_s=config.max_wait_s)
                wait_s = max(own_s, outcome.wait_s or 0.0)
                if wait_s > config.max_wait_s:
                    raise JudgeUnavailable(f"{reason}; the server asks for a wait of {wait_s:g} s")
                self._sleep(wait_s)
        raise JudgeUnavailable(f"{reason}; {config.retries + 1} tries")

    def _body(self, turns: list[dict[str, str]], seed: int) -> bytes:
        config = self.config
        body: dict[str, object] = {"model": config.model, "messages": turns, "stream": False, **config.extra_body}
        body[config.max_tokens_key] = config.max_tokens
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.send_seed:
            body["seed"] = seed
        return json.dumps(body).encode("ascii")

    def _attempt(self, body: bytes) -> str | _Problem:
        """One request: the text, or what is wrong, without the key in either."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        url = f"{self.config.base_url.rstrip('/')}/chat/completions"
        try:
            reply = post(url, body, headers, timeout_s=self.config.timeout_s, max_bytes=MAX_REPLY_BYTES)
        except WireError as problem:
            return _Problem(self._without_key(str(problem))[:EXCERPT_CHARS], is_passing=True)
        # Before anything is read or cut: half a key in an excerpt would not be found any more.
        reply = replace(reply, body=self._without_key(reply.body.decode(*LOSSLESS)).encode(*LOSSLESS))
        if not 200 <= reply.status < 300:
            reason = f"status {reply.status}: {self._without_key(_complaint(reply))[:EXCERPT_CHARS]}"
            is_passing = reply.status in PASSING or reply.status >= 500
            return _Problem(reason, is_passing, retry_after_s(reply.retry_after, datetime.now(UTC)))
        text = read_reply(reply)
        return self._without_key(text) if isinstance(text, str) else _Problem(self._without_key(text.reason))

    def _without_key(self, text: str) -> str:
        secret = "" if self._key is None else self._key.get_secret_value()
        if len(secret) < MIN_SECRET_CHARS:
            return text
        return text.replace(secret, "[key]").replace(secret.replace("/", "\\/"), "[key]")


def read_key(config: EndpointConfig) -> SecretStr | None:
    """The key that the settings name; None when they name none.

    Raises:
        ConfigError: Z105, the variable or file is missing, or what it holds is no key.
    """
    if config.key_env:
        where, text = f"environment variable {config.key_env}", os.environ.get(config.key_env, "")
    elif config.key_file:
        where = config.key_file
        try:
            text = Path(config.key_file).read_text(encoding="ascii")
        except (OSError, UnicodeError):
            text = ""
    else:
        return None
    secret = text.strip()
    if not secret or not all(32 < ord(character) < 127 for character in secret):
        what = "holds no key" if not secret else "holds what cannot be a key: white space or other than ASCII"
        raise ConfigError("Z105", f"the judge's key is missing: this {what}", where=where, fix="put the key there")
    return SecretStr(secret)


def read_reply(reply: Reply) -> str | _Problem:
    """The text of a chat completion, or what is wrong with it: no JSON, cut off, empty."""
    if reply.content_type.startswith("text/event-stream") or reply.body.startswith(b"data:"):
        return _Problem("the server streams though it was asked not to")
    try:
        data = json.loads(reply.body)
        choice = data["choices"][0]
        content, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, RecursionError):
        return _Problem("the reply is no JSON")
    except (LookupError, TypeError, AttributeError):
        return _Problem("the reply is JSON of another shape than a chat completion's")
    if isinstance(content, list):  # some servers give parts
        content = "".join(part["text"] for part in content if isinstance(part, dict) and _is_text(part))
    if finish not in WHOLE:
        return _Problem(f"the reply did not end by itself: finish_reason {str(finish)[:40]!r}")
    if not isinstance(content, str) or not content.strip():
        return _Problem("the reply is empty")
    return content


def _is_text(part: dict[str, object]) -> bool:
    return isinstance(part.get("text"), str)


def _complaint(reply: Reply) -> str:
    """What a server says of a failure: the message of its error object, else its text; nothing of a redirect."""
    if 300 <= reply.status < 400:
        return "redirects are not followed"
    text = reply.body[:2000].decode("utf-8", "replace")
    try:
        error = json.loads(reply.body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return " ".join(text.split())
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message).split())
