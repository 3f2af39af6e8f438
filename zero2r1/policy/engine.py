"""The built-in sampler: continuous batching over the learner's own weights.

On a CPU with a compiler the weights are laid out once more for compiled code (`network`); elsewhere they are shared
with the learner in place.

Life of a call: render the prompts, give each sample its key, let `decoding` run, decode the texts, attach lineage.
Tokens depend on weights, prompt, sample index, sampling and address only; not on the number of slots, the order of the
prompts or their neighbours. Compiled, that holds to the last bit, and the learner gives each token the log-probability
that was recorded here; elsewhere, in float32, up to rounding that only matters when a uniform number falls within about
1e-7 of the boundary between two tokens.

The engine knows the hash of the weights it samples from. Whoever changes the weights says so with `follow`; sampling
from weights that changed in silence is an error, because lineage and importance ratios would be wrong in silence too.

The cache is paged and has a budget that is never exceeded: samples of one prompt share its pages, and when pages run
out, the sample admitted last is put back and computed again later (see `scheduler`). So a tight budget costs time, and
no sample its tokens.

What it does not do: no quantised cache, no speculation, no sharing of work between calls, one device.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import ConfigError, RunError
from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Prompt
from zero2r1.models.recording import Recording
from zero2r1.models.save import counters_of, weights_hash
from zero2r1.policy.base import Policy, Sampling
from zero2r1.policy.config import MAX_SLOTS, MAX_TOKENS_IN_CACHE, PREFILL_TOKENS
from zero2r1.policy.decoding import Decoding, Spoken
from zero2r1.policy.graphs import Graphs
from zero2r1.policy.lineage import completion_of, encode, end_tokens, jobs_of, refuse_renamed, text_of
from zero2r1.policy.network import Network, find_kernels, fused_network_of, network_of
from zero2r1.policy.pages import PAGE
from zero2r1.policy.recorder import begin
from zero2r1.policy.session import Session, Stats, refuse_too_long


class Engine(Policy):
    """Samples from a causal language model of transformers, in this process."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_slots: int = MAX_SLOTS,
        max_tokens_in_cache: int = MAX_TOKENS_IN_CACHE,
        prefill_tokens: int = PREFILL_TOKENS,
        recompute_hash: bool = True,
        kernels: Literal["auto", "off"] = "auto",
        recording: Recording | None = None,
    ) -> None:
        """
        Args:
            model: shared, not copied; it must have been loaded by `models` (its attention is ours).
            tokenizer: with a chat template.
            max_slots, max_tokens_in_cache, prefill_tokens, recompute_hash, kernels: see `config.EngineConfig`.
            recording: gets what the network computes, while it is open, has room, and the network can be recorded.
        """
        if min(max_slots, max_tokens_in_cache, prefill_tokens) < 1:
            raise ValueError(
                f"max_slots={max_slots}, max_tokens_in_cache={max_tokens_in_cache}, prefill_tokens={prefill_tokens}: "
                "all are at least 1"
            )
        self._tokenizer = tokenizer
        self._max_slots, self._max_pages = max_slots, max_tokens_in_cache // PAGE
        self._prefill_tokens, self._recompute_hash = prefill_tokens, recompute_hash
        self._recording = recording
        self._kernels, self._arithmetic = (
            find_kernels(model) if kernels == "auto" else (None, "transformers: asked for")
        )
        self.stats = Stats()
        """Of the last call of `sample`, as far as it came."""
        self._network: Network | None = None
        self._graphs: Graphs | None = None
        self._hashes: dict[int, str] = {}
        """By version that has been sampled from: its weights."""
        self.follow(model, version=0)

    @property
    def arithmetic(self) -> str:
        """In words, what computes a step, and why when it is not compiled code, or not recorded on a GPU."""
        trouble = "" if self._graphs is None else self._graphs.trouble
        return f"{self._arithmetic}; {trouble}" if trouble else self._arithmetic

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        """Samples from these weights from now on, and hashes them.

        Raises:
            RunError: other weights of the same version have been sampled from already.
        """
        weights = weights_hash(model)
        refuse_renamed(self._hashes, version, weights, where="Engine.follow")
        self.version, self.weights_hash = version, weights
        if self._network is not None and not self._network.follows(model):
            self._network, self._graphs = None, None
        self._model = model
        self._counters = counters_of(model)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """[T_prompt] the token ids of the rendered prompt, up to where the model is to speak.

        Raises:
            ModelError: the tokenizer has no chat template, or the template renders to nothing.
        """
        return encode(self._tokenizer, prompt)

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
        refuse_too_long(
            max(len(token_ids) for token_ids in encoded), sampling.max_new_tokens, self._max_positions, self._max_pages
        )
        network = self._current_network()
        tokens = samples_per_prompt * len(prompts) * sampling.max_new_tokens + sum(map(len, encoded))
        decoding = Decoding(
            network,
            encoded,
            jobs_of(prompts, samples_per_prompt, address),
            sampling=sampling,
            eos_ids=eos_ids,
            decode=self._text,
            num_slots=self._max_slots,
            max_pages=self._max_pages,
            prefill_tokens=self._prefill_tokens,
            recording=self._ready_recording(network, tokens, sampling.temperature),
            graphs=self._graphs,
        )
        self._hashes[self.version] = self.weights_hash
        groups: list[list[Completion]] = [[] for _ in prompts]

        def take(spoken: Spoken) -> None:
            group = spoken.job.group
            completion = completion_of(
                self._tokenizer, prompts[group], sample=spoken.job.sample, prompt_token_ids=encoded[group],
                token_ids=spoken.token_ids, logprobs=spoken.logprobs, finish=spoken.finish, ends=eos_ids,
                version=self.version, weights_hash=self.weights_hash,
            )  # fmt: skip
            groups[group].append(completion)
            if on_finished is not None:
                on_finished(completion)

        try:
            decoding.run(take)
        finally:
            self.stats = decoding.stats
        return [sorted(group, key=lambda completion: completion.sample) for group in groups]

    def open(self, *, is_streaming: bool = True) -> Session:
        """A session over these weights with the whole cache, for requests that come one by one.

        Its steps raise RunError once the engine follows other weights. The cache is made at the first step.

        Raises:
            RunError: the weights changed since the last `follow`.
            ConfigError: the cache is smaller than one page.
        """
        self._refuse_stale_weights()
        if not self._max_pages:
            raise ConfigError("Z110", "the cache is smaller than one page", fix=f"max_tokens_in_cache={PAGE} or more")
        self._hashes[self.version] = self.weights_hash
        opened, counters = self._current_network(), self._counters

        def check() -> None:
            is_same = self._network is opened and self._counters == counters
            if not is_same or counters_of(self._model) != counters:
                raise self._stale("Session.step", "open another session after each change of the weights")

        return Session(
            opened,
            num_slots=self._max_slots,
            num_pages=self._max_pages,
            prefill_tokens=self._prefill_tokens,
            eos_ids=self.eos_ids,
            decode=self._text,
            encode=self.encode,
            max_positions=self._max_positions,
            is_streaming=is_streaming,
            check=check,
            graphs=None if self._graphs is None else Graphs(),
        )

    def _current_network(self) -> Network:
        """Over the weights as they are. A CPU's code lays them out anew, so it waits until somebody samples."""
        if self._network is None:
            kernels, model = self._kernels, self._model
            self._network = network_of(model) if kernels is None else fused_network_of(model, kernels)
            self._graphs = Graphs() if kernels is not None and kernels.attention is None else None
        return self._network

    def _ready_recording(self, network: Network, tokens: int, temperature: float) -> Recording | None:
        """The recording, when it takes so many tokens of this network."""
        recording = self._recording
        if recording is None or not begin(recording, self._model, network, tokens=tokens, temperature=temperature):
            return None
        return recording

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end a response: those of the tokenizer and of the model's generation config."""
        return end_tokens(self._model, self._tokenizer)

    def _text(self, token_ids: list[int]) -> str:
        return text_of(self._tokenizer, token_ids)

    @property
    def _max_positions(self) -> int | None:
        return getattr(self._model.config, "max_position_embeddings", None)

    def _refuse_stale_weights(self) -> None:
        is_stale = counters_of(self._model) != self._counters
        if not is_stale and self._recompute_hash:
            is_stale = weights_hash(self._model) != self.weights_hash
        if is_stale:
            raise self._stale("Engine.sample", "call follow(model, version=...) after each change of the weights")

    def _stale(self, where: str, fix: str) -> RunError:
        return RunError(
            "Z317",
            f"the weights changed since version {self.version} ({self.weights_hash})",
            where=where,
            why="the samples would name weights they do not come from",
            fix=fix,
        )
