"""Small models with uneven distributions, and prompts of several lengths, for the tests of the policy."""

import copy
from collections.abc import Sequence

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.random import Address
from zero2r1.core.types import AnswerKind, Completion, Message, Prompt
from zero2r1.models.attention import register_attention
from zero2r1.models.load import set_template
from zero2r1.models.tiny import TinyConfig, make_tiny
from zero2r1.models.tokenizer import make_tokenizer

ADDRESS = Address(seed=3, stage="test", step=0)


def tokenizer() -> PreTrainedTokenizerFast:
    made = make_tokenizer(["12 + 7 = 19. 一 two three; one by one"] * 3, vocab_size=288)
    set_template(made, "plain")
    return made


def qwen(made: PreTrainedTokenizerFast, *, num_end_tokens: int = 12) -> PreTrainedModel:
    """Qwen3 with `num_end_tokens` ways to end, so that lengths differ."""
    shape = TinyConfig(
        hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=48, max_positions=128,
        vocab_size=len(made),
    )  # fmt: skip
    return _uneven(make_tiny(shape, made, seed=1), num_end_tokens, factor=2.0)


def llama(made: PreTrainedTokenizerFast, *, num_end_tokens: int = 12) -> PreTrainedModel:
    """Llama with one key head for three query heads."""
    shape = LlamaConfig(
        vocab_size=len(made), hidden_size=48, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1,
        intermediate_size=64, max_position_embeddings=128, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=made.eos_token_id, pad_token_id=made.pad_token_id, attn_implementation=register_attention(),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return _uneven(LlamaForCausalLM(shape).eval(), num_end_tokens, factor=8.0)


def _uneven(model: PreTrainedModel, num_end_tokens: int, *, factor: float) -> PreTrainedModel:
    """Larger weights: likely and unlikely tokens instead of a flat distribution."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(factor)
    own = model.config.eos_token_id
    model.generation_config.eos_token_id = [own, *range(100, 100 + num_end_tokens - 1)]
    return model


def prompts(count: int) -> list[Prompt]:
    """Of several lengths."""
    texts = [f"{'one by ' * (index % 4)}{index} + 7 = " for index in range(count)]
    return [
        Prompt(
            messages=(Message(role="user", content=text),),
            reference="1",
            gold="1",
            answer_kind=AnswerKind.NUMBER,
            domain="test",
            language="en",
        )
        for text in texts
    ]


def plain_logprobs(model: PreTrainedModel, completion: Completion, *, temperature: float = 1.0) -> torch.Tensor:
    """[T] log-probabilities of the response by transformers' own forward pass and attention, one sequence at a time.

    Those of float32 weights are worked out in float64: two sides that both round would share 1e-5 between them.
    """
    reference = copy.deepcopy(model)
    if model.dtype == torch.float32:
        reference.double()
    reference.set_attn_implementation("eager")
    ids = torch.tensor([completion.prompt_token_ids + completion.token_ids], device=model.device)
    with torch.no_grad():
        logits = reference(input_ids=ids).logits[0].double()
    first = len(completion.prompt_token_ids)
    logprobs = (logits[first - 1 : -1] / temperature).log_softmax(-1)
    return logprobs.gather(-1, ids[0, first:, None])[:, 0].cpu()


def gap(model: PreTrainedModel, completions: Sequence[Completion], *, temperature: float = 1.0) -> float:
    """Largest difference between the recorded log-probabilities and those of `plain_logprobs`, in nats."""
    return max(
        float((torch.tensor(one.logprobs) - plain_logprobs(model, one, temperature=temperature)).abs().max())
        for one in completions
    )
