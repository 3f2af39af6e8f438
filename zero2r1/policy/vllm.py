"""vLLM in this process as the sampler, with weights that are proved to be the learner's.

Life of `follow`: hand vLLM the learner's tensors through its own loader, throw away cached keys and values (they were
computed with the old weights), read every matrix back from the kernels and compare (`vllm_weights`). A difference is
RunError Z317: nothing is sampled from weights that nobody knows.

Deviation from the built-in engine: another arithmetic (bfloat16 by default), so the gap to the learner is real; see
`rl.importance_correction`. What it does not do: several workers (tensor parallelism), quantisation, LoRA adapters of
vLLM's own (adapters arrive merged).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import RunError
from zero2r1.core.types import Finish
from zero2r1.policy.base import Sampling
from zero2r1.policy.foreign import Answer, ForeignPolicy, Request
from zero2r1.policy.sampler_config import VllmConfig
from zero2r1.policy.vllm_start import Started, start
from zero2r1.policy.vllm_weights import differing, learner_tensors, pack_again, without_aliases

NAMED_TENSORS = 3
"""Ours: differing tensors that a message lists."""
FINISHES: Mapping[str, Finish] = {"stop": Finish.STOP, "length": Finish.LENGTH}


class VllmPolicy(ForeignPolicy):
    """Samples with a vLLM `LLM` whose engine runs in this process. Close it.

    Args:
        model: the learner's; followed at once, as version 0.
        tokenizer: with a chat template.
        started: a running vLLM for a model of this shape, with any weights.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, started: Started) -> None:
        super().__init__(tokenizer, max_tokens=started.max_tokens)
        self._started, self._llm = started, started.llm
        self._num_requests = 0
        self.held_hash = ""
        """sha256 of the weights read back from vLLM, in its own data type; 16 hex digits."""
        self.follow(model, version=0)

    def close(self) -> None:
        """Ends vLLM and gives its memory back. Nothing can be sampled afterwards."""
        self.weights_hash = ""
        self._started.close()

    def _take(self, model: PreTrainedModel, weights: str) -> None:
        dtype = self._started.dtype
        tensors = learner_tensors(model)
        self._load(tensors, dtype)
        if not self._llm.reset_prefix_cache():
            raise RunError(
                "Z317",
                "vLLM does not let go of keys and values computed with the old weights",
                where="VllmPolicy.follow",
                fix="follow between two calls of sample, never during one",
            )
        wrong, held = differing(self._network(), tensors, dtype)
        if wrong:
            names = ", ".join(wrong[:NAMED_TENSORS]) + (" ..." if len(wrong) > NAMED_TENSORS else "")
            raise RunError(
                "Z317",
                f"{len(wrong)} of {len(tensors)} tensors in the sampler are not the learner's",
                where="VllmPolicy.follow",
                why=f"read back after the update: {names}",
                fix="do not train on its samples; sampler.backend=engine has no copy that could be stale",
            )
        self.held_hash = held

    def _load(self, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """vLLM's own way to take new weights, and what it forgets on a CPU."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": without_aliases(tensors, dtype)})
        pack_again(self._network())

    def _network(self) -> nn.Module:
        found: list[nn.Module] = []
        self._llm.apply_model(found.append)  # runs here: the engine shares this process, so nothing is serialised
        return found[0]

    def _speak(self, requests: Sequence[Request], sampling: Sampling, take: Callable[[Answer], None]) -> None:
        engine = self._llm.llm_engine
        waiting: dict[str, Request] = {}
        try:
            for request in requests:
                name = str(self._num_requests)
                self._num_requests += 1
                prompt = {"prompt_token_ids": list(request.prompt_token_ids)}
                engine.add_request(name, prompt, self._parameters(request, sampling))
                waiting[name] = request
            while waiting:
                for output in engine.step():
                    if output.finished:
                        take(answer_of(waiting.pop(output.request_id), output.outputs[0]))
        finally:
            if waiting:
                engine.abort_request(list(waiting))

    def _parameters(self, request: Request, sampling: Sampling) -> Any:
        """One request's settings in vLLM's terms. End tokens are named, so that ours hold and not the model file's."""
        return self._started.parameters(
            n=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=request.seed,
            max_tokens=sampling.max_new_tokens,
            stop=list(sampling.stop),
            include_stop_str_in_output=True,
            stop_token_ids=sorted(self.eos_ids),
            ignore_eos=True,
            logprobs=0,  # of the drawn token alone
            detokenize=bool(sampling.stop),
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            output_kind=self._started.final_only,
        )


def answer_of(request: Request, said: Any) -> Answer:
    """vLLM's output for one request.

    Raises:
        RunError: it ended otherwise than by an end token, a stop text or its length (Z317).
    """
    finish = FINISHES.get(str(said.finish_reason))
    if finish is None or len(said.logprobs or ()) != len(said.token_ids):
        raise RunError(
            "Z317",
            f"vLLM ended a request with {said.finish_reason!r} and {len(said.logprobs or ())} log-probabilities "
            f"for {len(said.token_ids)} tokens",
            where="VllmPolicy.sample",
            fix="look at vLLM's own log: VLLM_LOGGING_LEVEL=INFO",
        )
    token_ids = tuple(said.token_ids)
    logprobs = tuple(float(step[token].logprob) for token, step in zip(token_ids, said.logprobs, strict=True))
    return Answer(request=request, token_ids=token_ids, logprobs=logprobs, finish=finish)


@contextmanager
def open_vllm(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: VllmConfig) -> Iterator[VllmPolicy]:
    """A vLLM for this model, ended on leaving.

    Raises:
        MissingExtraError: vLLM is not installed here (Z201).
        RunError: it does not hold the model's weights after the first `follow` (Z317).
    """
    started = start(model, tokenizer, config)
    try:
        yield VllmPolicy(model, tokenizer, started)
    finally:
        started.close()
