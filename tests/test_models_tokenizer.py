"""The tokenizer loses nothing, sees numbers digit by digit, and is the same bytes every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.dialogue import CHAT_TEMPLATES, R1_ZERO, R1_ZERO_BEFORE
from zero2r1.core.errors import ModelError
from zero2r1.models.load import load_tokenizer, set_template
from zero2r1.models.tokenizer import END, PAD, TAGS, make_tokenizer

TEXTS = [
    "37+48: ones 7+8=15 carry 1 tens 3+4+1=8 so 85",
    "个位7+8=15进1，十位3+4+1=8，所以85。",
    "<think> ones 7+8=15 </think> <answer> 85 </answer>",
    "Tom has 3 apples and buys 4 more. How many apples has Tom?",
] * 20
PIECES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [*TAGS, END, PAD, R1_ZERO_BEFORE, "  ", "\r\n", "é", "Ġ", "١٢", "½", "的", "𠀀", "👩‍👩‍👧", "e\u0301", "\x00"]
    ),
)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(TEXTS, vocab_size=420, whole=(R1_ZERO_BEFORE,))


def pieces(tokenizer, text):
    return [tokenizer.decode([index]) for index in tokenizer.encode(text)]


@settings(max_examples=200)
@given(parts=st.lists(PIECES, max_size=6))
def test_every_text_survives(tokenizer, parts):
    text = "".join(parts)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_each_digit_is_a_token(tokenizer):
    assert pieces(tokenizer, "1234") == ["1", "2", "3", "4"]
    assert pieces(tokenizer, "7+8=15") == ["7", "+", "8", "=", "1", "5"]


def test_no_token_joins_chinese_characters(tokenizer):
    assert pieces(tokenizer, "个位") == ["个", "位"]
    for index in range(len(tokenizer)):
        text = tokenizer.decode([index])
        characters = [letter for letter in text if "\u4e00" <= letter <= "\u9fff"]
        assert len(characters) <= 1, text
        assert not characters or len(text) == 1, text


def test_no_token_but_the_fixed_ones_holds_two_digits(tokenizer):
    for index in range(len(tokenizer)):
        assert sum(letter.isdigit() for letter in tokenizer.decode([index])) <= 1


def test_tags_are_single_ordinary_tokens(tokenizer):
    for tag in TAGS:
        assert len(tokenizer.encode(tag)) == 1
        assert tokenizer.decode(tokenizer.encode(tag), skip_special_tokens=True) == tag
    assert pieces(tokenizer, "</think><answer>") == ["</think>", "<answer>"]


def test_only_end_and_pad_are_special(tokenizer):
    assert set(tokenizer.all_special_tokens) == {END, PAD}
    assert tokenizer.decode(tokenizer.encode(f"a{END}"), skip_special_tokens=True) == "a"
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (END, PAD, None)


def test_the_fixed_text_of_the_prompt_costs_one_token(tokenizer):
    ids = tokenizer.encode(R1_ZERO.format(prompt="1+1"))
    assert tokenizer.decode(ids[:1]) == R1_ZERO_BEFORE
    assert pieces(tokenizer, R1_ZERO_BEFORE + "1")[1:] == ["1"]


def test_common_words_are_one_token_and_the_vocabulary_is_as_large_as_asked(tokenizer):
    assert len(tokenizer) <= 420
    assert len(tokenizer.encode(" apples")) == 1
    assert len(make_tokenizer(TEXTS, vocab_size=300)) == 300


def test_token_ids_are_0_to_the_length_without_gaps(tokenizer):
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_the_same_texts_give_the_same_bytes(tmp_path):
    written = []
    for name in ("a", "b"):
        made = make_tokenizer(iter(TEXTS), vocab_size=400, whole=(R1_ZERO_BEFORE,))
        made.save_pretrained(tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert "tokenizer.json" in written[0]


def test_other_texts_give_another_tokenizer():
    assert (
        make_tokenizer(TEXTS, vocab_size=300).get_vocab() != make_tokenizer(["xyz xyz"] * 9, vocab_size=300).get_vocab()
    )


@pytest.mark.parametrize("name", sorted(CHAT_TEMPLATES))
def test_templates_mark_the_assistants_tokens(tokenizer, tmp_path, name):
    set_template(tokenizer, name)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    turns = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "<think> 2 </think>"}]
    rendered = loaded.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    learned = [
        i for i, is_learned in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if is_learned
    ]
    assert loaded.decode(learned).strip() == f"<think> 2 </think>{END}"
    prompt = loaded.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"]
    assert rendered["input_ids"][: len(prompt)] == prompt
    assert rendered["assistant_masks"][: len(prompt)] == [0] * len(prompt)


def test_an_unknown_template_is_refused(tokenizer):
    with pytest.raises(ModelError, match="Z209") as caught:
        set_template(tokenizer, "r2")
    assert "r1_zero" in caught.value.fix


@pytest.mark.parametrize("whole", [("",), ("<think>",), ("a b", "a b"), ("éÿ",)])
def test_fixed_texts_that_cannot_be_tokens_are_refused(whole):
    with pytest.raises(ModelError, match="Z205"):
        make_tokenizer(TEXTS, vocab_size=400, whole=whole)


def test_a_vocabulary_without_room_for_all_bytes_is_refused():
    with pytest.raises(ModelError, match="Z205") as caught:
        make_tokenizer(TEXTS, vocab_size=100)
    assert "vocab_size=264" in caught.value.fix  # 256 bytes, 6 tags, end and pad
    assert len(make_tokenizer(TEXTS, vocab_size=264)) == 264
