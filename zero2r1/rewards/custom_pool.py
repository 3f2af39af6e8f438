"""A user's own rewards in processes with deadlines: one that hangs, crashes or computes for long costs its own verdict.

One worker process (`custom_worker.py`) imports the files once and judges in children of its own, several at a time; so
a reward neither holds the trainer's interpreter lock nor stops it. Questions and completions cross the border as JSON.

What is not here: the two forms of a reward (`custom.py`), and the process itself (`link.py`).
"""

import json
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zero2r1.core.types import Completion, Prompt
from zero2r1.rewards.custom import Opinion, TRLFormat
from zero2r1.rewards.custom_worker import request_of
from zero2r1.rewards.link import Supervisor

GRACE_S = 5.0
"""Ours: how much later than the worker's own deadline the whole worker is given up; large requests take their time."""
START_TIMEOUT_S = 300.0
"""Ours: a reward's file may import torch and read a model."""


class CustomPool(Supervisor):
    """The rewards of some sources. Started when it is made, ended by `close()`. Usable from any thread.

    Args:
        sources: names such as `my_rewards.py::brevity`.
        folder: where relative paths start.
        trl_format: how TRL's form gets prompts and completions.
        timeout_s: seconds one call of a function may take; a call judges one completion, or a group in TRL's form.
        max_at_once: calls at a time; further callers wait for their turn.

    Raises:
        RewardError: a reward is missing (Z140) or has a wrong signature (Z141); the worker cannot be started (Z142).
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        folder: Path | str = ".",
        trl_format: TRLFormat = "auto",
        timeout_s: float | int = 60.0,
        max_at_once: int = 16,
    ) -> None:
        settings = {
            "sources": list(sources),
            "folder": str(Path(folder).absolute()),
            "trl_format": trl_format,
            "path": [place or os.getcwd() for place in sys.path],
        }
        package_root = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH", "")
        super().__init__(
            "zero2r1.rewards.custom_worker",
            [json.dumps(settings)],
            environment={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package_root, inherited)))},
            keep_stderr=True,
            grace_s=GRACE_S,
            start_timeout_s=START_TIMEOUT_S,
        )
        self.sources = tuple(sources)
        self.timeout_s = float(timeout_s)
        self._turns = threading.BoundedSemaphore(max_at_once)
        self._takes_groups = dict(zip(self.sources, self.start()["needs_group"], strict=True))

    @property
    def needs_group(self) -> bool:
        """True when one of the rewards is in TRL's form and wants the completions of a question together."""
        return any(self._takes_groups.values())

    def judge(self, source: str, prompt: Prompt, completions: Sequence[Completion]) -> list[Opinion]:
        """[G] what one reward says of completions of one question: in TRL's form by one call, else by a call each.

        Never raises for what a function does: a deadline missed, a crash and an exception are errors with a reason.
        """
        if self._takes_groups[source]:
            return self._call(source, prompt, completions)
        if len(completions) == 1:
            return self._call(source, prompt, completions)
        with ThreadPoolExecutor(len(completions)) as threads:  # they only wait for their turns
            calls = [threads.submit(self._call, source, prompt, [completion]) for completion in completions]
        return [opinion for call in calls for opinion in call.result()]

    def _call(self, source: str, prompt: Prompt, completions: Sequence[Completion]) -> list[Opinion]:
        request = request_of(self.sources.index(source), prompt, completions)
        with self._turns:
            reply = self.ask(request, timeout_s=self.timeout_s)
        if "lost" in reply:
            return [Opinion(None, reply["lost"], is_error=True) for _ in completions]
        return [Opinion(value, note, is_error) for value, note, is_error in reply["opinions"]]
