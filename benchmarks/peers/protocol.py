"""The peer's end of the line: one JSON object a line in, one out, over standard input and output.

A peer runs in an environment of its own, so nothing here needs more than Python. What libraries print goes to standard
error: the line belongs to the answers alone.

What it does not do: time anything. A peer times its own turn, so that the line and JSON cost it nothing.
"""

import json
import os
import sys
from typing import Any


class Line:
    """Requests in, answers out."""

    def __init__(self) -> None:
        self._requests = sys.stdin
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def receive(self) -> dict[str, Any] | None:
        """The next request; None when there will be no more."""
        text = self._requests.readline()
        return json.loads(text) if text.strip() else None

    def send(self, answer: dict[str, Any]) -> None:
        """Answers the last request."""
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()
