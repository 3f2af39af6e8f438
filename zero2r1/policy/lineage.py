"""What every sampler does around its network: prompts to tokens, samples to keys, tokens to completions with lineage.

What it does not do: sample.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.errors import ModelError, RunError
from zero2r1.core.random import Address, key
from zero2r1.core.types import Completion, Finish, Prompt
from zero2r1.policy.samples import Job


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> tuple[int, ...]:
    """[T_prompt] the token ids of the rendered prompt, up to where the model is to speak.

    Raises:
        ModelError: Z205, the tokenizer has no chat template, or the template renders to nothing.
    """
    if tokenizer.chat_template is None:
        raise ModelError(
            "Z205", "the tokenizer has no chat template", fix="choose one with zero2r1.models.load.set_template"
        )
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    token_ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    if not token_ids:
        raise ModelError("Z205", f"the chat template renders prompt {prompt.id} to no tokens", fix="choose another")
    return tuple(token_ids)


def text_of(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """As it is: no special token is left out, no space tidied up, so rewards see what the model said."""
    return tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a response: those of the tokenizer and of the model's generation config."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids: Set[int | None] = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return frozenset(token for token in ids if token is not None)


def jobs_of(prompts: Sequence[Prompt], samples_per_prompt: int, address: Address) -> list[Job]:
    """Group by group. A repeated prompt has its occurrence in the key, so that its samples are not copies."""
    seen: Counter[str] = Counter()
    jobs: list[Job] = []
    for group, prompt in enumerate(prompts):
        repeat = [seen[prompt.id]] if seen[prompt.id] else []
        seen[prompt.id] += 1
        for sample in range(samples_per_prompt):
            jobs.append(Job(group=group, sample=sample, key=key(address, prompt.id, sample, *repeat)))
    return jobs


def completion_of(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    *,
    sample: int,
    prompt_token_ids: tuple[int, ...],
    token_ids: tuple[int, ...],
    logprobs: tuple[float, ...],
    finish: Finish,
    ends: Set[int],
    version: int,
    weights_hash: str,
) -> Completion:
    """A response with its text, without the token that ended it, and where it comes from.

    Args:
        ends: tokens that end a response.
        version, weights_hash: of the weights it was sampled from.
    """
    words = token_ids[:-1] if token_ids and token_ids[-1] in ends else token_ids
    return Completion(
        prompt=prompt,
        sample=sample,
        prompt_token_ids=prompt_token_ids,
        token_ids=token_ids,
        logprobs=logprobs,
        text=text_of(tokenizer, words),
        finish=finish,
        policy_version=version,
        weights_hash=weights_hash,
    )


def refuse_renamed(sampled: Mapping[int, str], version: int, weights: str, *, where: str) -> None:
    """RunError Z317 where weights of this version have been sampled from already, and they were others.

    Args:
        sampled: by version that has been sampled from, the hash of its weights.
    """
    if sampled.get(version, weights) != weights:
        raise RunError(
            "Z317",
            f"version {version} names two sets of weights: {sampled[version]} and {weights}",
            where=where,
            why="samples of both would carry the same version",
            fix="give changed weights a version of their own",
        )
