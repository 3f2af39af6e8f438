"""Chat templates (Jinja) and response templates for tokenizers: prompt text out, reply fields in.

The chat templates are training templates: the assistant's words and the end-of-sequence token stand inside
`{% generation %}`, so that `apply_chat_template(..., return_assistant_tokens_mask=True)` marks exactly what is learnt,
and thinking of earlier turns is kept.

Deviations: no beginning-of-sequence token is written (a model that needs one brings its own template); several turns
repeat the R1-Zero pattern, for which the paper only shows one.
"""

from collections.abc import Mapping
from types import MappingProxyType

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"

R1_ZERO_BEFORE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think>...</think> and <answer>...</answer> tags, "
    "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: "
)
"""The prompt of R1-Zero up to the question. Source: DeepSeek-R1 (arXiv 2501.12948v2), Table 1 (the template)."""
R1_ZERO_AFTER = ". Assistant:"
"""The prompt of R1-Zero behind the question; the full stop is the paper's."""
R1_ZERO = R1_ZERO_BEFORE + "{prompt}" + R1_ZERO_AFTER
"""The whole prompt; `{prompt}` stands for the question."""

_TURNS = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
@USER@
{%- elif message['role'] == 'assistant' -%}
{%- set reply = message['content'] -%}
{%- if message['reasoning_content'] is defined and message['reasoning_content'] is not none -%}
{%- set reply = @REPLY@ -%}
{%- endif -%}
{% generation %}{{- @SPACE@ + reply + (eos_token or '') -}}{% endgeneration %}
{%- else -%}
{{- raise_exception('the @NAME@ template has no place for the role ' + message['role']) -}}
{%- endif -%}
{%- endfor -%}"""
"""@...@ are filled in by `_template`."""


def _template(name: str, *, user: str, space: str, reply: str = "reply") -> str:
    """A chat template: how a user turn reads, what stands before the assistant's words, and (where the message comes
    in parts) how thinking and content make a reply."""
    filled = _TURNS.replace("@USER@", user).replace("@SPACE@", repr(space))
    return filled.replace("@REPLY@", reply).replace("@NAME@", name)


CHAT_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "r1_zero": _template(
            "r1_zero",
            user=f"{{{{- ({R1_ZERO_BEFORE!r} if loop.first else ' User: ') "
            f"+ message['content'] + {R1_ZERO_AFTER!r} -}}}}",
            space=" ",
            reply="'<think> ' + message['reasoning_content'] + ' </think> <answer> ' + reply + ' </answer>'",
        ),
        "r1": _template(
            "r1",
            user="{{- '<|User|>' + message['content'] + '<|Assistant|>' -}}",
            space="",
            reply=r"'<think>\n' + message['reasoning_content'] + '\n</think>\n\n' + reply",
        ),
        "plain": _template(
            "plain",
            user=r"{{- ('' if loop.first else '\n') + 'User: ' + message['content'] + '\nAssistant:' -}}",
            space=" ",
        ),
    }
)
"""Jinja by name: `r1_zero` (the paper's prompt), `r1` (`<|User|>question<|Assistant|>`, no prefilled `<think>`) and
`plain` (`User: question`, line break, `Assistant:`). The assistant's words are `content`, or `reasoning_content` and
`content` (plain drops the former). A prompt is the start of the whole dialogue, so `add_generation_prompt` makes no
difference."""

ENDS = ["<|end|>", "<｜end▁of▁sentence｜>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>"]
"""End-of-sequence tokens of models that these templates may be put on: no part of a reply."""

RESPONSE_TEMPLATES: Mapping[str, dict[str, object]] = MappingProxyType(
    {
        "r1_zero": {
            "defaults": {"role": "assistant"},
            "start_anchor": "Assistant:",
            "fields": {
                "reasoning_content": {"open": THINK_OPEN, "close": THINK_CLOSE},
                "content": {"open": "<answer>", "close": "</answer>"},
            },
        },
        "r1": {
            "defaults": {"role": "assistant"},
            "start_anchor": "<|Assistant|>",
            "fields": {
                "reasoning_content": {"open": THINK_OPEN, "close": THINK_CLOSE},
                "content": {"close": ENDS},
            },
        },
        "plain": {
            "defaults": {"role": "assistant"},
            "start_anchor": "\nAssistant:",
            "fields": {"content": {"close": ENDS}},
        },
    }
)
"""For `tokenizer.response_template` (transformers >= 5.13): `tokenizer.parse_response(text, prefix=prompt)` gives a
message with `reasoning_content` and `content`. Serving and other people's tools read it; rewards use
`dialogue.parse`, which also says what is wrong."""
