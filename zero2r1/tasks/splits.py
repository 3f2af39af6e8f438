"""Which split a question belongs to: a pure function of its content hash.

Nobody keeps a list, so two runs, two machines or two orders of drawing can never disagree, and a question that is
tested is never trained on. What is not here: near-duplicates across sources (a contamination check is an evaluation).
"""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


def split_of(content_hash: str) -> str:
    """`train`, `validation` or `test` (80 / 10 / 10) for a hexadecimal content hash.

    Generated families hash the problem itself (operands, whatever the wording, order of a sum or language), so that
    `37+48` cannot be trained in English and tested in Chinese. Files hash the whole prompt (`Prompt.id`).

    Ours: the paper does not say how its held-out questions were set apart.
    """
    tenth = int(content_hash[:8], 16) % 10
    if tenth == 0:
        return TEST
    return VALIDATION if tenth == 1 else TRAIN


def check_split(split: str) -> None:
    """Raise ValueError for a name that is no split."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: it is one of {', '.join(SPLITS)}")
