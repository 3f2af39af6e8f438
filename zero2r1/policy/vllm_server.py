"""A running `vllm serve` as the sampler: for evaluation and for sampling traces, with weights that stay as they are.

Token ids go out and come back, so nothing is tokenised twice. The server is asked what it thinks of a prompt before
each call, and its log-probabilities are compared with the model's own: a server with another model, or one whose
log-probabilities are not those at the sampling temperature, is refused before anything is sampled.

What it does not do: hand over weights. vLLM 0.32 takes new ones over HTTP only in its developer mode, whose routes ask
for no key; so `follow` of changed weights is RunError Z317. It starts and stops no server either.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import ModelError, RunError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import AnswerKind, Finish, Message, Prompt
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.policy.base import Sampling
from zero2r1.policy.foreign import Answer, ForeignPolicy, Request
from zero2r1.policy.sampler_config import ServerConfig
from zero2r1.rewards.judges.backoff import backoff_s
from zero2r1.rewards.judges.endpoint import PASSING, read_key
from zero2r1.rewards.judges.wire import Reply, WireError, post

MAX_REPLY_BYTES = 64 * 2**20
"""Ours: 32,768 tokens with their log-probabilities are a tenth of it."""
TRIES = 4
"""Ours: a request is repeated after a failure that may pass; it carries a seed, so nothing changes by that."""
PROBE_TOKENS = 8
"""Ours: response tokens of a probe."""
PROBE_PROMPT_TOKENS = 256
"""Ours: tokens of a prompt that a probe compares, from its start."""
FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}
Post = Callable[..., Reply]


class VllmServerPolicy(ForeignPolicy):
    """Samples from a server that holds the model's weights.

    Args:
        model: what the server is said to hold; it is asked at once, and again before each call.
        tokenizer: with a chat template.
        send: sends one request, as `rewards.judges.wire.post`.
        sleep: waits between two tries.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: ServerConfig,
        *,
        send: Post = post,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(tokenizer, max_tokens=config.max_tokens)
        self._config, self._send, self._sleep = config, send, sleep
        self._key = read_key(config.endpoint())
        self._model = model
        self._fixed = ""
        self.follow(model, version=0)

    def _take(self, model: PreTrainedModel, weights: str) -> None:
        if self._fixed and self._fixed != weights:
            raise RunError(
                "Z317",
                f"a vLLM server cannot follow: it holds {self._fixed}, the learner has {weights}",
                where="VllmServerPolicy.follow",
                why="weights are not handed over to a server; its samples would be of the old ones",
                fix="train with sampler.backend=vllm or engine; for another model, restart the server with its folder",
            )
        self._model = model
        self._probe(self.encode(QUESTION), Sampling(max_new_tokens=PROBE_TOKENS))
        self._fixed = weights

    def _speak(self, requests: Sequence[Request], sampling: Sampling, take: Callable[[Answer], None]) -> None:
        self._probe(requests[0].prompt_token_ids, sampling)
        with ThreadPoolExecutor(self._config.concurrency) as pool:
            under_way = [pool.submit(self._ask, request, sampling) for request in requests]
            try:
                for one in as_completed(under_way):
                    take(one.result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: Request, sampling: Sampling) -> Answer:
        choice = self._complete(self._body(request, sampling))
        try:
            token_ids = tuple(int(token) for token in choice["token_ids"])
            logprobs = tuple(float(value) for value in choice["logprobs"]["token_logprobs"])
            finish = FINISHES[choice["finish_reason"]]
        except (LookupError, TypeError, ValueError) as problem:
            raise self._strange(f"{type(problem).__name__}: {problem}") from problem
        if len(token_ids) != len(logprobs):
            raise self._strange(f"{len(token_ids)} tokens, {len(logprobs)} log-probabilities")
        return Answer(request=request, token_ids=token_ids, logprobs=logprobs, finish=finish)

    def _body(self, request: Request, sampling: Sampling) -> dict[str, object]:
        """One request in the terms of vLLM's completions interface."""
        return {
            "model": self._config.model,
            "prompt": list(request.prompt_token_ids),
            "n": 1,
            "stream": False,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": request.seed,
            "max_tokens": sampling.max_new_tokens,
            "stop": list(sampling.stop),
            "include_stop_str_in_output": True,
            "stop_token_ids": sorted(self.eos_ids),
            "ignore_eos": True,
            "logprobs": 0,
            "return_token_ids": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }

    def _probe(self, prompt_token_ids: tuple[int, ...], sampling: Sampling) -> None:
        """Compares the server with the model on one prompt and a short response.

        Raises:
            RunError: they differ by more than `max_gap_nats` on average (Z317).
        """
        temperature = sampling.temperature or 1.0
        asked = Request(group=0, sample=0, seed=0, prompt_token_ids=prompt_token_ids[:PROBE_PROMPT_TOKENS])
        body = self._body(asked, Sampling(temperature=temperature, max_new_tokens=PROBE_TOKENS))
        choice = self._complete({**body, "prompt_logprobs": 0})
        try:
            said = tuple(int(token) for token in choice["token_ids"])
            answered = torch.tensor([float(value) for value in choice["logprobs"]["token_logprobs"]])
            read = _prompt_logprobs(choice["prompt_logprobs"], asked.prompt_token_ids)
        except (LookupError, TypeError, ValueError) as problem:
            raise self._strange(f"{type(problem).__name__}: {problem}") from problem
        if len(said) != len(answered):
            raise self._strange(f"{len(said)} tokens, {len(answered)} log-probabilities")
        first = len(asked.prompt_token_ids)
        plain = own_logprobs(self._model, (*asked.prompt_token_ids, *said), temperature=1.0)
        scaled = own_logprobs(self._model, (*asked.prompt_token_ids, *said), temperature=temperature)[first - 1 :]
        self._judge(_gap(read, plain[: first - 1]), "the prompt")
        gap, raw_gap = _gap(answered, scaled), _gap(answered, plain[first - 1 :])
        is_raw = raw_gap < gap and raw_gap <= self._config.max_gap_nats
        self._judge(gap, "its own response", why=RAW if is_raw else OTHER_WEIGHTS)

    def _judge(self, gap: float, what: str, why: str = "") -> None:
        if not gap <= self._config.max_gap_nats:  # NaN is no agreement
            raise RunError(
                "Z317",
                f"the server and the model disagree by {gap:.3f} nats a token on {what}",
                where=self._config.base_url,
                why=f"more than max_gap_nats={self._config.max_gap_nats}: {why or OTHER_WEIGHTS}",
                fix="vllm serve MODEL_FOLDER --logprobs-mode processed_logprobs, with the folder that is sampled here",
            )

    def _complete(self, body: dict[str, object]) -> dict[str, Any]:
        """The one choice of a reply, after as many tries as are allowed."""
        content = json.dumps(body).encode("ascii")
        jitter = Stream(key(Address(seed=0, stage="vllm.wait", step=0), str(body["seed"])))
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                self._sleep(backoff_s(attempt - 1, jitter.random(), base_s=1.0, cap_s=30.0))
            reply, reason = self._attempt(content)
            if reply is None:
                continue
            try:
                found = json.loads(reply.body)["choices"][0]
            except (ValueError, LookupError, TypeError, RecursionError) as problem:
                raise self._strange(f"{type(problem).__name__} in the reply") from problem
            if isinstance(found, dict):
                return found
            raise self._strange("the choice is no object")
        raise self._silent(f"{reason}; {TRIES} tries")

    def _attempt(self, content: bytes) -> tuple[Reply | None, str]:
        """A good reply, or None and a reason that may pass. ModelError Z200 for one that will not."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        url = f"{self._config.base_url.rstrip('/')}/completions"
        try:
            reply = self._send(url, content, headers, timeout_s=self._config.timeout_s, max_bytes=MAX_REPLY_BYTES)
        except WireError as problem:
            return None, str(problem)[:200]
        if 200 <= reply.status < 300:
            return reply, ""
        reason = f"status {reply.status}"  # no word of the reply: it could hold the key
        if reply.status in PASSING or reply.status >= 500:
            return None, reason
        raise self._silent(reason)

    def _silent(self, reason: str) -> ModelError:
        return ModelError(
            "Z200",
            "the vLLM server gives no completions",
            where=self._config.base_url,
            why=reason,
            fix="check sampler.server: address, model name (--served-model-name) and key; is the server up?",
        )

    def _strange(self, reason: str) -> ModelError:
        return ModelError(
            "Z200",
            "the server's reply is not that of vLLM's completions interface",
            where=self._config.base_url,
            why=reason[:200],
            fix="sampler.server.base_url names a `vllm serve` (0.32 is tested), up to and with /v1",
        )


OTHER_WEIGHTS = "it holds other weights, or reads the tokens otherwise"
RAW = "its log-probabilities are those before the temperature"
QUESTION = Prompt(
    messages=(Message(role="user", content="What is 7 + 5? Think step by step."),),
    reference="12",
    gold="12",
    answer_kind=AnswerKind.NUMBER,
    domain="probe",
    language="en",
)


def own_logprobs(
    model: PreTrainedModel, token_ids: Sequence[int], *, temperature: float | int
) -> Float[Tensor, " T_less_1"]:
    """[T - 1] log-probability, in nats, of each token after the first, by the model's own forward pass."""
    ids = torch.tensor(token_ids, device=model.device)
    with torch.no_grad():
        hidden = hidden_states(model, ids, torch.arange(len(ids), device=ids.device), PackedContext([len(ids)]))
        logits = head_of(model).logits(hidden[:-1]).float() / temperature
    return logits.log_softmax(-1).gather(-1, ids[1:, None])[:, 0].cpu()


def _prompt_logprobs(read: Sequence[Any], token_ids: Sequence[int]) -> Float[Tensor, " T_less_1"]:
    """The server's numbers for the tokens after the first."""
    return torch.tensor(
        [float(entry[str(token)]["logprob"]) for entry, token in zip(read[1:], token_ids[1:], strict=True)]
    )


def _gap(left: Float[Tensor, " n"], right: Float[Tensor, " n"]) -> float:
    """Mean absolute difference, in nats; 0 for no tokens."""
    return float((left - right).abs().mean()) if len(left) else 0.0
