"""A server on 127.0.0.1 with an OpenAI-compatible chat interface that says what a test tells it to say."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from zero2r1.core.types import Message
from zero2r1.rewards.judges.config import EndpointConfig
from zero2r1.rewards.judges.voice import JudgeUnavailable


@dataclass(frozen=True)
class Canned:
    """One reply as it travels."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    """Wait after each byte of the body."""
    announced: int | None = None
    """Content-Length, when it is not the body's."""


def chat(text: object, *, finish: str | None = "stop", **more: object) -> Canned:
    """A whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Canned(json.dumps({"object": "chat.completion", "choices": [choice]}).encode(), **more)


class FakeServer:
    """Replies by `reply(request body)`, and remembers requests, headers and how many were under way at a time."""

    def __init__(self, reply: Callable[[dict], Canned]) -> None:
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.paths.append(self.path)
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                try:
                    canned = reply(body)
                    time.sleep(canned.delay_s)
                finally:
                    # Before the reply goes out: a client that has it may ask again before this thread runs on.
                    with outer._lock:
                        outer._at_once -= 1
                with suppress(OSError):  # the client hung up, which is what some tests are about
                    self._send(canned)

            def _send(self, canned: Canned) -> None:
                self.send_response(canned.status)
                length = len(canned.body) if canned.announced is None else canned.announced
                for name, value in {"Content-Length": str(length), **canned.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not canned.drip_s:
                    self.wfile.write(canned.body)
                    return
                for byte in canned.body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(canned.drip_s)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def config(self, **settings: object) -> EndpointConfig:
        return EndpointConfig(**{"base_url": self.base_url, "model": "fake", "timeout_s": 10.0, **settings})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(*replies: Canned | Callable[[dict], Canned]) -> Iterator[FakeServer]:
    """A server that gives these replies one after another and the last of them for ever."""
    left = list(replies)
    lock = threading.Lock()

    def reply(body: dict) -> Canned:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        return chosen if isinstance(chosen, Canned) else chosen(body)

    server = FakeServer(reply)
    try:
        yield server
    finally:
        server.close()


class FakeVoice:
    """A voice without a network: says what a function makes of the last message."""

    def __init__(self, speak: Callable[[str], str], name: str = "fake") -> None:
        self._speak = speak
        self._name = name
        self._lock = threading.Lock()
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return self._name

    def say(self, messages: Sequence[Message], *, samples: int = 1, seed: int = 0) -> list[str]:
        with self._lock:
            self.asked += [messages[-1].content] * samples
        return [self._speak(messages[-1].content) for _ in range(samples)]


def unavailable(text: str) -> str:
    """A voice that is out of reach."""
    raise JudgeUnavailable("no connection")


def case_of(text: str) -> str:
    """The seal of a question, from its first tag."""
    return re.search(r"<question-([0-9a-f]{16})>", text).group(1)


def block(text: str, name: str) -> str:
    """What stands in a block of a question."""
    case = case_of(text)
    return text.partition(f"<{name}-{case}>\n")[2].partition(f"\n</{name}-{case}>")[0]


def verdict_json(text: str, correctness: str, analysis: str = "because") -> str:
    """A reply of an obedient correctness judge."""
    row = {"analysis": analysis, "correctness": correctness, "case": case_of(text)}
    return f"I looked at it.\n```json\n{json.dumps(row)}\n```"


def mark_line(text: str, mark: str) -> str:
    """A reply of an obedient preference judge."""
    return f"My own reply would be short.\n\nVerdict {case_of(text)}: [[{mark}]]"


def by_length(text: str) -> str:
    """A judge that looks at length alone."""
    a, b = (len(block(text, f"reply-of-{name}")) for name in "AB")
    return mark_line(text, "A>>B" if a > b else "B>>A" if b > a else "A=B")
