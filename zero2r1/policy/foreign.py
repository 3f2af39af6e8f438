"""What samplers with a network of their own share: prompts to tokens, keys to seeds, answers to completions.

The built-in engine computes with the learner's own tensors; a foreign sampler (vLLM) holds a copy, in a data type and
with kernels of its own. Lineage is the same: a completion names the version and the hash of the learner's weights that
the copy was made from, and a subclass proves in `_take` that the copy is one.

What it does not do: speak. That is the subclass's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.random import Address, torch_seed
from zero2r1.core.types import Completion, Finish, Prompt
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Policy, Sampling
from zero2r1.policy.lineage import completion_of, encode, end_tokens, jobs_of, refuse_renamed

LEAST_TEMPERATURE = 0.01
"""vLLM's own: it samples at 0.01 where less is asked for, without an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sample to be drawn."""

    group: int
    """Index of its prompt, 0 <= group < P."""
    sample: int
    """Index inside the group, 0 <= sample < G."""
    seed: int
    """63 bits, from the sample's key: what the sampler's own generator starts from."""
    prompt_token_ids: tuple[int, ...]
    """[T_prompt]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sampler said to a request."""

    request: Request
    token_ids: tuple[int, ...]
    """[T] the end-of-sequence token included when it was said."""
    logprobs: tuple[float, ...]
    """[T] in nats, at the sampling temperature."""
    finish: Finish


class ForeignPolicy(Policy, ABC):
    """A policy whose network is not the learner's.

    Args:
        tokenizer: with a chat template.
        max_tokens: most tokens of a prompt with its response.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._hashes: dict[int, str] = {}
        """By version that has been sampled from: its weights."""
        self._end_tokens: frozenset[int] = frozenset()
        self.version, self.weights_hash = -1, ""

    @abstractmethod
    def _take(self, model: PreTrainedModel, weights: str) -> None:
        """Makes the copy these weights, whose hash is `weights`, and proves it; RunError Z317 when it is not."""

    @abstractmethod
    def _speak(self, requests: Sequence[Request], sampling: Sampling, take: Callable[[Answer], None]) -> None:
        """Answers every request, in any order, and hands each answer to `take` at once."""

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """Samples from these weights from now on; they are copied only when they differ from those already held.

        Raises:
            RunError: other weights of the same version have been sampled from already, or the sampler does not hold
                the learner's weights afterwards (Z317).
        """
        weights = weights_hash(model)
        refuse_renamed(self._hashes, version, weights, where=f"{type(self).__name__}.follow")
        if weights != self.weights_hash:
            self.weights_hash = ""  # until it is proved
            self._take(model, weights)
        self.version, self.weights_hash = version, weights
        self._end_tokens = end_tokens(model, self._tokenizer)

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        *,
        sampling: Sampling,
        address: Address,
        on_finished: Callable[[Completion], None] | None = None,
    ) -> list[list[Completion]]:
        """[P][G] completions; see `Policy.sample`.

        Deviation from the protocol: seeds depend on prompt, sample and address only, but the sampler's arithmetic
        depends on which sequences it computes side by side. Equal calls are repeatable; a sample can differ when its
        neighbours do. With top_k or top_p below 1 the log-probabilities are NaN: vLLM only tells those of the cut
        distribution.

        Raises:
            RunError: no weights are held, or log-probabilities are not finite.
            ModelError: a prompt with max_new_tokens is longer than the sampler's context.
            ConfigError: a temperature that vLLM would change.
        """
        if not prompts or samples_per_prompt < 1:
            return [[] for _ in prompts]
        self._refuse(sampling)
        encoded = [self.encode(prompt) for prompt in prompts]
        self._refuse_long(max(len(ids) for ids in encoded), sampling)
        self._hashes[self.version] = self.weights_hash
        groups: list[list[Completion]] = [[] for _ in prompts]

        def take(answer: Answer) -> None:
            completion = self._completion(prompts[answer.request.group], answer, sampling)
            groups[answer.request.group].append(completion)
            if on_finished is not None:
                on_finished(completion)

        self._speak(requests_for(prompts, encoded, samples_per_prompt, address), sampling, take)
        return [sorted(group, key=lambda completion: completion.sample) for group in groups]

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """[T_prompt] as `Engine.encode`. Raises ModelError Z205 without a chat template, or when it renders nothing."""
        return encode(self._tokenizer, prompt)

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end a response: those of the tokenizer and of the model's generation config."""
        return self._end_tokens

    def _completion(self, prompt: Prompt, answer: Answer, sampling: Sampling) -> Completion:
        logprobs = answer.logprobs
        if is_cut(sampling):
            logprobs = (float("nan"),) * len(answer.token_ids)
        elif not np.isfinite(logprobs).all():
            raise RunError(
                "Z409",
                "the sampler gives log-probabilities that are not finite",
                where="while sampling",
                why="its weights hold NaN or infinity, or its activations overflow the data type",
                fix="go back to an earlier checkpoint; or try sampler.vllm.dtype=float32",
            )
        request = answer.request
        return completion_of(
            self._tokenizer, prompt, sample=request.sample, prompt_token_ids=request.prompt_token_ids,
            token_ids=answer.token_ids, logprobs=logprobs, finish=answer.finish, ends=self._end_tokens,
            version=self.version, weights_hash=self.weights_hash,
        )  # fmt: skip

    def _refuse(self, sampling: Sampling) -> None:
        if not self.weights_hash:
            raise RunError(
                "Z317",
                "the sampler holds no weights that were proved to be the learner's",
                where=f"{type(self).__name__}.sample",
                fix="call follow(model, version=...) first, and heed its error",
            )
        if 0.0 < sampling.temperature < LEAST_TEMPERATURE:
            raise ConfigError(
                "Z110",
                f"vLLM samples at {LEAST_TEMPERATURE} when a temperature of {sampling.temperature} is asked for",
                fix="temperature 0 takes the likeliest token; else use at least 0.01, or sampler.backend=engine",
            )

    def _refuse_long(self, longest: int, sampling: Sampling) -> None:
        if longest + sampling.max_new_tokens > self._max_tokens:
            raise ModelError(
                "Z207",
                f"a prompt of {longest} tokens and max_new_tokens={sampling.max_new_tokens} need "
                f"{longest + sampling.max_new_tokens} positions",
                where=f"the sampler has {self._max_tokens}",
                fix=f"set max_new_tokens to at most {max(self._max_tokens - longest, 0)}, or give the sampler more",
            )


def is_cut(sampling: Sampling) -> bool:
    """True when tokens are not drawn from the full distribution."""
    return sampling.temperature > 0.0 and (sampling.top_p < 1.0 or sampling.top_k > 0)


def requests_for(
    prompts: Sequence[Prompt], encoded: Sequence[tuple[int, ...]], samples_per_prompt: int, address: Address
) -> list[Request]:
    """Group by group, with the engine's keys as seeds."""
    return [
        Request(group=job.group, sample=job.sample, seed=torch_seed(job.key), prompt_token_ids=encoded[job.group])
        for job in jobs_of(prompts, samples_per_prompt, address)
    ]
