"""Supervised rows on disk: what a stage made of its samples, with the lineage of each row.

One JSON object a line in `data/sft.jsonl`: `id`, `messages`, `domain`, `language`, and `source`, which names the
completion (and the weights that said it) or the generator the row came from. `zero2r1 trace ID` follows these ids.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zero2r1.core.run import write_atomic
from zero2r1.core.types import Message, Prompt, content_id

SFT_FILE = "sft.jsonl"


def make_row(prompt: Prompt, reply: str, source: Mapping[str, str]) -> dict[str, Any]:
    """A supervised row: the prompt's turns and one assistant turn. Its id is a hash of those turns."""
    turns = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
    turns.append({"role": "assistant", "content": reply})
    return {
        "id": content_id(turns),
        "messages": turns,
        "domain": prompt.domain,
        "language": prompt.language,
        "source": {"prompt": prompt.id, **source},
    }


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, one JSON object a line, whole or not at all."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows back, in order."""
    # Not splitlines(): what a model wrote may hold U+2028 and its like, which end no row.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def dialogues(rows: Iterable[dict[str, Any]]) -> list[list[Message]]:
    """The turns of each row, as the tokenizer's template takes them."""
    return [[Message(role=turn["role"], content=turn["content"]) for turn in row["messages"]] for row in rows]
