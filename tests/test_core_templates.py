"""Chat and response templates, as transformers executes them."""

import pytest

from zero2r1.core.dialogue import CHAT_TEMPLATES, R1_ZERO, RESPONSE_TEMPLATES, Dialect, parse, render

EOS = "<|end|>"
USER = {"role": "user", "content": "37+48=?"}
PROMPTS = {
    "r1_zero": R1_ZERO.replace("{prompt}", "37+48=?"),
    "r1": "<|User|>37+48=?<|Assistant|>",
    "plain": "User: 37+48=?\nAssistant:",
}
REPLIES = {
    "r1_zero": " <think> so </think> <answer> 85 </answer>",
    "r1": "<think>\nso\n</think>\n\n\\boxed{85}",
    "plain": " 85",
}


@pytest.fixture(scope="module")
def tokenizer():
    """A byte tokenizer made here: one token a byte, and the end of sequence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token=EOS)


def rendered(tokenizer, name, messages, *, add_generation_prompt=False):
    """Text, and the text of what the mask says the assistant wrote."""
    out = tokenizer.apply_chat_template(
        messages,
        chat_template=CHAT_TEMPLATES[name],
        add_generation_prompt=add_generation_prompt,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, mask = out["input_ids"], out["assistant_masks"]
    return tokenizer.decode(ids), tokenizer.decode(
        [token for token, is_reply in zip(ids, mask, strict=True) if is_reply]
    )


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_a_prompt_reads_as_documented_and_nothing_of_it_is_learnt(tokenizer, name, add_generation_prompt):
    text, learnt = rendered(tokenizer, name, [USER], add_generation_prompt=add_generation_prompt)
    assert text == PROMPTS[name]
    assert learnt == ""


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_exactly_the_reply_and_its_end_are_learnt(tokenizer, name):
    said = {"role": "assistant", "content": REPLIES[name].lstrip(" ")}
    text, learnt = rendered(tokenizer, name, [USER, said])
    assert text == PROMPTS[name] + REPLIES[name] + EOS
    assert learnt == REPLIES[name] + EOS


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_a_dialogue_of_several_turns_keeps_all_thinking(tokenizer, name):
    said = {"role": "assistant", "content": REPLIES[name].lstrip(" ")}
    text, learnt = rendered(tokenizer, name, [USER, said, USER, said])
    assert learnt == (REPLIES[name] + EOS) * 2
    assert text.startswith(PROMPTS[name] + REPLIES[name] + EOS)
    assert text.count("37+48=?") == 2
    assert text.count("A conversation between") == (name == "r1_zero")


@pytest.mark.parametrize("name", ["r1_zero", "r1"])
def test_a_message_in_parts_reads_as_the_dialect_renders_it(tokenizer, name):
    content = "85" if name == "r1_zero" else "\\boxed{85}"
    parts = {"role": "assistant", "reasoning_content": "so", "content": content}
    _, learnt = rendered(tokenizer, name, [USER, parts])
    reply = parse(learnt.removesuffix(EOS), Dialect(name))
    assert reply.is_well_formed
    assert learnt.strip() == render(reply.reply, Dialect(name)) + EOS


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_a_role_without_a_place_is_an_error(tokenizer, name):
    from jinja2.exceptions import TemplateError

    with pytest.raises(TemplateError, match=f"the {name} template has no place for the role system"):
        rendered(tokenizer, name, [{"role": "system", "content": "x"}, USER])


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_text_of_a_user_is_text_and_never_a_template(tokenizer, name):
    text, _ = rendered(tokenizer, name, [{"role": "user", "content": "{{ 7*7 }} {% if %}"}])
    assert "{{ 7*7 }} {% if %}" in text


@pytest.mark.parametrize("name", RESPONSE_TEMPLATES)
def test_a_response_is_read_in_parts(tokenizer, name):
    message = tokenizer.parse_response(REPLIES[name] + EOS, RESPONSE_TEMPLATES[name], prefix=PROMPTS[name])
    expected = {"r1_zero": "85", "r1": "\\boxed{85}", "plain": "85"}[name]
    thinking = {} if name == "plain" else {"reasoning_content": "so"}
    assert message == {"role": "assistant", "content": expected, **thinking}


def test_a_prefilled_tag_is_seen_in_the_prompt(tokenizer):
    prefix = PROMPTS["r1"] + "<think>\n"
    read = tokenizer.parse_response("so\n</think>\n\n85", RESPONSE_TEMPLATES["r1"], prefix=prefix)
    assert read == {"role": "assistant", "reasoning_content": "so", "content": "85"}


def test_a_truncated_thinking_is_thinking(tokenizer):
    read = tokenizer.parse_response("<think>\nso", RESPONSE_TEMPLATES["r1"], prefix=PROMPTS["r1"])
    assert read == {"role": "assistant", "reasoning_content": "so"}


@pytest.mark.parametrize("name", ["r1_zero", "r1"])
def test_a_message_goes_round_from_prompt_to_parts_and_back(tokenizer, name):
    parts = {"role": "assistant", "reasoning_content": "so", "content": "\\boxed{85}"}
    text, learnt = rendered(tokenizer, name, [USER, parts])
    assert tokenizer.parse_response(learnt, RESPONSE_TEMPLATES[name], prefix=text.removesuffix(learnt)) == parts


def test_a_stream_cut_inside_a_tag_reads_the_same(tokenizer):
    parser = tokenizer.get_response_parser(RESPONSE_TEMPLATES["r1"], prefix=PROMPTS["r1"])
    for chunk in ("<thi", "nk>\nso</th", "ink>", "\n\n85"):
        parser.feed(chunk)
    message, _ = parser.finalize()
    assert message == {"role": "assistant", "reasoning_content": "so", "content": "85"}
