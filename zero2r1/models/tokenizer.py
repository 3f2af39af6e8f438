"""Tokenizers made here: byte-level BPE, trained in a second on the texts of the tasks.

Any Unicode text survives encoding and decoding unchanged. Each digit is a token of its own, so that numbers look the
same everywhere (carries line up), and no token joins two Chinese characters or a character and its neighbours. The
tags of the dialects are single tokens, but ordinary ones: they are text that a model writes and a reward reads, so
they are not dropped when special tokens are.

What it does not do: no normalisation (it would lose text), no beginning-of-sequence token, and no protection against a
text that spells out `<|end|>`: it becomes the end token, as with most tokenizers.
"""

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as InOrder
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from zero2r1.core.errors import ModelError

END = "<|end|>"
"""End of sequence: the model says it when its turn is over."""
PAD = "<|pad|>"
"""Filler of batches in other libraries; nothing here pads with it."""
TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<|User|>", "<|Assistant|>")
"""The marks of the dialects, one ordinary token each."""
NUM_BYTES = 256


def make_tokenizer(
    texts: Iterable[str], *, vocab_size: int = 1024, whole: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Trains a lossless byte-level BPE tokenizer on the texts.

    The same texts in the same order give a byte-identical tokenizer.

    Args:
        texts: what to learn merges from.
        vocab_size: size of the whole vocabulary, marks and `whole` included; fewer when the texts hold fewer merges.
        whole: long fixed texts known as one token each, e.g. the R1-Zero prompt before the question.

    Raises:
        ModelError: the vocabulary has no room for the 256 bytes and the marks, or a text of `whole` cannot be a token.

    Source: Ours: the paper's tokenizer is that of its base model; a tiny one keeps a tiny model's embedding small.
    """
    added = (END, PAD, *TAGS, *whole)
    if len(set(added)) != len(added) or "" in added:
        raise ModelError("Z205", "`whole` names an empty text, a mark or a text twice", fix="name each text once")
    room = vocab_size - len(added)
    if room < NUM_BYTES:
        smallest = NUM_BYTES + len(added)
        raise ModelError(
            "Z205",
            f"vocab_size={vocab_size} is too small",
            why=f"{NUM_BYTES} bytes and {len(added)} fixed tokens come first",
            fix=f"vocab_size={smallest} or more",
        )
    core = Tokenizer(BPE())
    core.pre_tokenizer = InOrder(
        [
            Split(Regex(r"\p{Han}|\p{N}"), behavior="isolated"),
            ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    core.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=room, min_frequency=2, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    core.train_from_iterator((_without(text, added) for text in texts), trainer)
    core.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in (PAD, END)])
    core.add_tokens([AddedToken(text, normalized=False, special=False) for text in (*TAGS, *whole)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False, padding_side="left"
    )
    _check_whole(tokenizer, whole)
    return tokenizer


def _without(text: str, marks: Sequence[str]) -> str:
    """The text with marks cut out: merges inside them would be learned and never used."""
    for mark in marks:
        text = text.replace(mark, "\n")
    return text


def _check_whole(tokenizer: PreTrainedTokenizerFast, whole: Sequence[str]) -> None:
    for text in whole:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.decode(ids) != text:
            raise ModelError(
                "Z205",
                "a text of `whole` is not one token that decodes to itself",
                where=repr(text[:60]),
                why="it holds another fixed text that is matched first, or letters that byte-level decoding rewrites",
                fix="choose another text, best one with a space in it",
            )
