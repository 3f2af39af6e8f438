"""The worker process of a user's own rewards: imports their files once, judges in children that die at their deadline.

Run as `python -m zero2r1.rewards.custom_worker SETTINGS`, settings being JSON: `sources`, `folder`, `trl_format`,
`path`. The files are imported before the first child is forked. Each child has its own copy of what they hold and
judges many requests one after another, so what a function keeps is not shared between calls. A child has no memory
limit, keeps the trainer's environment, and stands back for the trainer when both want the processor.

    in   {"id": 7, "reward": 0, "prompt": {...}, "completions": [{...}, ...], "timeout_s": 60.0}
    out  {"ready": true, "needs_group": [false, ...]} once, then {"id": 7, "opinions": [[value, note, is_error], ...]}

What is not here: the loop and the deadlines (`forking.py`). No sandbox either: the files are the user's own code.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from zero2r1.core.errors import RewardError
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt
from zero2r1.rewards.custom import CustomReward, load_custom
from zero2r1.rewards.forking import Answer, Confinement, Server, write_all

NICENESS = 10
"""Ours: a sampler on the same cores keeps about nine tenths of them against as many busy rewards."""


def request_of(index: int, prompt: Prompt, completions: Sequence[Completion]) -> dict[str, Any]:
    """A question and completions of it as plain data, for the reward of this index."""
    asked = {name: getattr(prompt, name) for name in ("reference", "gold", "domain", "language", "level", "id")}
    turns = [[message.role, message.content] for message in prompt.messages]
    return {
        "reward": index,
        "prompt": {**asked, "messages": turns, "answer_kind": prompt.answer_kind.value},
        "completions": [
            {
                "sample": completion.sample,
                "prompt_token_ids": completion.prompt_token_ids,
                "token_ids": completion.token_ids,
                "logprobs": completion.logprobs,
                "text": completion.text,
                "finish": completion.finish.value,
                "policy_version": completion.policy_version,
                "weights_hash": completion.weights_hash,
            }
            for completion in completions
        ],
    }


def read_request(request: Mapping[str, Any]) -> tuple[Prompt, list[Completion]]:
    """The question and its completions again: equal to those `request_of` was given."""
    asked = dict(request["prompt"])
    turns = tuple(Message(role=role, content=content) for role, content in asked.pop("messages"))
    prompt = Prompt(messages=turns, answer_kind=AnswerKind(asked.pop("answer_kind")), **asked)
    return prompt, [_completion(prompt, fields) for fields in request["completions"]]


def _completion(prompt: Prompt, fields: Mapping[str, Any]) -> Completion:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Completion(**{**plain, "prompt": prompt, "finish": Finish(fields["finish"])})


def judging(rewards: Sequence[CustomReward]) -> Answer:
    """Rewards as an answer to a request."""

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        opinions = rewards[request["reward"]](*read_request(request))
        sys.stdout.flush()  # what the function printed must not wait for the end of the child
        return {"opinions": [astuple(opinion) for opinion in opinions]}

    return answer


def main(settings: Mapping[str, Any]) -> int:
    """Import the files, say ready or what is wrong, serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a user's code prints or reads must not meet the requests and replies.
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # Only now: a file beside the trainer's script, such as types.py, must not shadow what the lines above import.
    sys.path[:] = settings["path"]
    try:
        rewards = [
            load_custom(source, folder=settings["folder"], trl_format=settings["trl_format"])
            for source in settings["sources"]
        ]
    except RewardError as problem:
        told = {name: getattr(problem, name) for name in ("code", "what", "where", "why", "fix")}
        say(replies, {"ready": False, "error": told})
        return 1
    sys.stdout.flush()
    say(replies, {"ready": True, "needs_group": [reward.needs_group for reward in rewards]})
    with suppress(BrokenPipeError):
        Server(judging(rewards), Confinement(niceness=NICENESS), requests=requests, replies=replies).run()
    return 0


def say(replies: int, reply: Mapping[str, Any]) -> None:
    """One JSON line to the trusted side."""
    write_all(replies, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    os._exit(main(json.loads(sys.argv[1])))  # threads that a user's file started must not keep the process alive
