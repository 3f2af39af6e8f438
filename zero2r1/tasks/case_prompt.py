"""The prompt that asks a language model for programs that generate test inputs, and the reader of its reply.

Source: DeepSeek-R1 (arXiv 2501.12948v2), RL data, Listing 2: an example question, the request, six labelled generators
(one length at random, several lengths at random, one huge case, one repeated character, two alternating characters, the
alphabet in order), then the new question. The structure is the paper's; example and wording are ours.

What is not here: the asking, and running what comes back (`cases.py`).
"""

from zero2r1.core.types import Message

REQUEST = """Write several programs in Python that generate inputs for this question. The inputs should be diverse and
adversarial, and some large enough that a correct but slow program exceeds the time limit.

Rules: put each generator into a code block of its own. Each generator prints EXACTLY ONE input to standard output, in
the format of the question, and nothing else. Vary what it prints from run to run with the module `random`."""
EXAMPLE_QUESTION = """You are given two lines s and t of lower-case letters, each at most 200000 letters long. Print the
length of the longest text that is a beginning of s and at the same time an ending of t.

Example input:
abcab
zabc
Example output:
3"""
EXAMPLE_GENERATORS: tuple[tuple[str, str], ...] = (
    (
        "Both lines random and of the same length",
        """import random

n = random.randint(1, 50)
for _ in range(2):
    print("".join(random.choice("ab") for _ in range(n)))""",
    ),
    (
        "Both lines random and of different lengths",
        """import random

for n in random.sample(range(1, 60), 2):
    print("".join(random.choice("abc") for _ in range(n)))""",
    ),
    (
        "One huge case with a long overlap",
        """import random

shared = "".join(random.choice("ab") for _ in range(100000))
print(shared + "b" * 100000)
print("a" * 100000 + shared)""",
    ),
    (
        "One repeated character",
        """import random

letter = random.choice("az")
print(letter * random.randint(150000, 200000))
print(letter * random.randint(150000, 200000))""",
    ),
    (
        "Two alternating characters",
        """import random

first, second = random.sample("abyz", 2)
print((first + second) * random.randint(1, 100000))
print((second + first) * random.randint(1, 100000))""",
    ),
    (
        "The alphabet in order",
        """import random

alphabet = "abcdefghijklmnopqrstuvwxyz"
print(alphabet * random.randint(1, 7000))
print(alphabet[random.randint(0, 25):] + alphabet * random.randint(1, 7000))""",
    ),
)
FENCE = "```"
LANGUAGES = ("", "python", "python3", "py")
"""What may stand behind the fence of a generator."""


def generator_prompt(question: str) -> list[Message]:
    """The dialogue that asks for generators of inputs for a question.

    Args:
        question: the statement, with its input format.
    """
    blocks = [
        f"{number}. {label}:\n\n```python\n{program}\n```"
        for number, (label, program) in enumerate(EXAMPLE_GENERATORS, start=1)
    ]
    return [
        Message(role="user", content=f"Question:\n\n{EXAMPLE_QUESTION}\n\n{REQUEST}"),
        Message(role="assistant", content="\n\n".join(blocks)),
        Message(role="user", content=f"Question:\n\n{question}\n\n{REQUEST}"),
    ]


def generators_of(reply: str) -> list[str]:
    """The programs of a reply: its closed code blocks in Python or without a language, each once, no empty ones."""
    found: dict[str, None] = {}
    block: list[str] | None = None
    language = ""
    for line in reply.split("\n"):
        mark = line.strip().lower()
        if block is None:
            if mark.startswith(FENCE):
                block, language = [], mark.removeprefix(FENCE).strip()
        elif mark == FENCE:
            program = "\n".join((*block, ""))
            if language in LANGUAGES and program.strip():
                found[program] = None
            block = None
        else:
            block.append(line)
    return list(found)
