"""The built-in sampler: continuous batching on the learner's own network, without a copy of its weights.

Life of a call: render the prompts, give each sample its key, let `decoding` run, decode the texts, attach lineage.
Tokens depend on weights, prompt, sample index, sampling and address only; not on the number of slots, the order of the
prompts or their neighbours (in float32, up to rounding that only matters when a uniform number falls within about 1e-7
of the boundary between two tokens).

The engine knows the hash of the weights it samples from. Whoever changes the weights says so with `follow`; sampling
from weights that changed in silence is an error, because lineage and importance ratios would be wrong in silence too.

What it does not do: no paged or quantised cache, no speculation, no sharing of work between calls, one device.
"""

from collections import Counter
from collections.abc import Callable, Sequence, Set

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.random import Address, key
from zero2r1.core.types import Completion, Prompt
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Policy, Sampling
from zero2r1.policy.decoding import Decoding, Spoken
from zero2r1.policy.scheduler import Job


class Engine(Policy):
    """Samples from a causal language model of transformers, in this process."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_slots: int = 128,
        max_tokens_in_cache: int = 65_536,
        recompute_hash: bool = True,
    ) -> None:
        """
        Args:
            model: shared, not copied; it must have been loaded by `models` (its attention is ours).
            tokenizer: with a chat template.
            max_slots: most sequences decoded at the same time.
            max_tokens_in_cache: most tokens whose keys and values are held; a slot reserves the longest prompt plus
                max_new_tokens, so this limits the slots of long calls.
            recompute_hash: before each call, hash the weights and compare (about 1 s per GB). When False only the
                version counters of the tensors are compared: free, but blind to changes made through `.data`.
        """
        if max_slots < 1 or max_tokens_in_cache < 1:
            raise ValueError(f"max_slots={max_slots}, max_tokens_in_cache={max_tokens_in_cache}: both are at least 1")
        self._tokenizer = tokenizer
        self._max_slots, self._max_tokens_in_cache = max_slots, max_tokens_in_cache
        self._recompute_hash = recompute_hash
        self._hashes: dict[int, str] = {}
        """By version that has been sampled from: its weights."""
        self.follow(model, version=0)

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """Samples from these weights from now on, and hashes them.

        Raises:
            RunError: other weights of the same version have been sampled from already.
        """
        weights = weights_hash(model)
        if self._hashes.get(version, weights) != weights:
            raise RunError(
                "Z317",
                f"version {version} names two sets of weights: {self._hashes[version]} and {weights}",
                where="Engine.follow",
                why="samples of both would carry the same version",
                fix="give changed weights a version of their own",
            )
        self.version, self.weights_hash = version, weights
        self._model = model
        self._counters = _counters(model)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """[T_prompt] the token ids of the rendered prompt, up to where the model is to speak.

        Raises:
            ModelError: the tokenizer has no chat template, or the template renders to nothing.
        """
        if self._tokenizer.chat_template is None:
            raise ModelError(
                "Z205", "the tokenizer has no chat template", fix="choose one with zero2r1.models.load.set_template"
            )
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        token_ids = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        if not token_ids:
            raise ModelError("Z205", f"the chat template renders prompt {prompt.id} to no tokens", fix="choose another")
        return tuple(token_ids)

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

        A prompt given more than once gets other samples each time.

        Raises:
            RunError: the weights changed since the last `follow`, or they give numbers that are not finite.
            ModelError: a prompt with max_new_tokens is longer than the model's context.
            ConfigError: one sequence does not fit into the cache.
        """
        if not prompts or samples_per_prompt < 1:
            return [[] for _ in prompts]
        self._refuse_stale_weights()
        encoded, eos_ids = [self.encode(prompt) for prompt in prompts], self.eos_ids
        decoding = Decoding(
            self._model,
            encoded,
            _jobs(prompts, samples_per_prompt, address),
            sampling=sampling,
            eos_ids=eos_ids,
            decode=self._text,
            num_slots=self._num_slots(encoded, len(prompts) * samples_per_prompt, sampling),
        )
        self._hashes[self.version] = self.weights_hash
        groups: list[list[Completion]] = [[] for _ in prompts]

        def take(spoken: Spoken) -> None:
            group = spoken.job.group
            completion = self._completion(prompts[group], encoded[group], spoken, eos_ids)
            groups[group].append(completion)
            if on_finished is not None:
                on_finished(completion)

        decoding.run(take)
        return [sorted(group, key=lambda completion: completion.sample) for group in groups]

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end a response: those of the tokenizer and of the model's generation config."""
        config = getattr(self._model, "generation_config", None)
        named = [self._tokenizer.eos_token_id, *_listed(getattr(config, "eos_token_id", None))]
        return frozenset(token for token in named if token is not None)

    def _completion(
        self, prompt: Prompt, prompt_token_ids: tuple[int, ...], spoken: Spoken, eos_ids: Set[int]
    ) -> Completion:
        token_ids = spoken.token_ids
        words = token_ids[:-1] if token_ids[-1] in eos_ids else token_ids
        return Completion(
            prompt=prompt,
            sample=spoken.job.sample,
            prompt_token_ids=prompt_token_ids,
            token_ids=token_ids,
            logprobs=spoken.logprobs,
            text=self._text(list(words)),
            finish=spoken.finish,
            policy_version=self.version,
            weights_hash=self.weights_hash,
        )

    def _text(self, token_ids: list[int]) -> str:
        """As it is: no special token is left out, no space tidied up, so rewards see what the model said."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _num_slots(self, encoded: Sequence[Sequence[int]], num_jobs: int, sampling: Sampling) -> int:
        longest = max(len(token_ids) for token_ids in encoded)
        needed = longest + sampling.max_new_tokens
        positions = getattr(self._model.config, "max_position_embeddings", None)
        if positions is not None and needed > positions:
            raise ModelError(
                "Z207",
                f"a prompt of {longest} tokens and max_new_tokens={sampling.max_new_tokens} need {needed} positions",
                where=f"the model has {positions}",
                fix=f"set max_new_tokens to at most {max(positions - longest, 0)}, or leave long prompts out",
            )
        if needed > self._max_tokens_in_cache:
            raise ConfigError(
                "Z110",
                f"one sequence needs {needed} tokens of cache and the engine may hold {self._max_tokens_in_cache}",
                fix=f"raise max_tokens_in_cache to at least {needed}, or lower max_new_tokens",
            )
        return min(self._max_slots, num_jobs, self._max_tokens_in_cache // needed)

    def _refuse_stale_weights(self) -> None:
        is_stale = _counters(self._model) != self._counters
        if not is_stale and self._recompute_hash:
            is_stale = weights_hash(self._model) != self.weights_hash
        if is_stale:
            raise RunError(
                "Z317",
                f"the weights changed since version {self.version} ({self.weights_hash})",
                where="Engine.sample",
                why="the samples would name weights they do not come from",
                fix="call follow(model, version=...) after each change of the weights",
            )


def _jobs(prompts: Sequence[Prompt], samples_per_prompt: int, address: Address) -> list[Job]:
    """Group by group. A repeated prompt has its occurrence in the key, so that its samples are not copies."""
    seen: Counter[str] = Counter()
    jobs: list[Job] = []
    for group, prompt in enumerate(prompts):
        repeat = [seen[prompt.id]] if seen[prompt.id] else []
        seen[prompt.id] += 1
        for sample in range(samples_per_prompt):
            jobs.append(Job(group=group, sample=sample, key=key(address, prompt.id, sample, *repeat)))
    return jobs


def _listed(ids: int | list[int] | None) -> list[int]:
    """A generation config names no, one or several end tokens."""
    if ids is None:
        return []
    return ids if isinstance(ids, list) else [ids]


def _counters(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Where each parameter lies and how often it was written to in place."""
    return tuple((parameter.data_ptr(), parameter._version) for parameter in model.parameters())
