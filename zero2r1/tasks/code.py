"""Programming tasks made here: functions, programs between standard input and output, and repairs.

Every problem is a template with parameters, so all of them are known and each belongs to one split. A problem asked as
a function and the same problem asked as a program share the split, and so do its two languages.

What is not here: the templates (`code_numbers.py` and its neighbours, `code_repairs_*.py`), and running anything. The
paper's questions (17K of competitions, 8K of repairs) are not public: these stand in for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from zero2r1.core.errors import DataError
from zero2r1.core.problems import Form
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Prompt, content_id
from zero2r1.tasks.code_grids import GRIDS
from zero2r1.tasks.code_lists import LISTS
from zero2r1.tasks.code_numbers import NUMBERS
from zero2r1.tasks.code_repair import repair_prompt
from zero2r1.tasks.code_repairs_first import FIRST_REPAIRS
from zero2r1.tasks.code_repairs_second import SECOND_REPAIRS
from zero2r1.tasks.code_repairs_third import THIRD_REPAIRS
from zero2r1.tasks.code_templates import Params, Template
from zero2r1.tasks.code_texts import TEXTS
from zero2r1.tasks.code_wording import prompt_of
from zero2r1.tasks.splits import SPLITS, TRAIN, check_split, split_of

TEMPLATES: tuple[Template, ...] = (*NUMBERS, *LISTS, *TEXTS, *GRIDS)
"""Of functions and of programs alike."""
REPAIRS = (*FIRST_REPAIRS, *SECOND_REPAIRS, *THIRD_REPAIRS)


@runtime_checkable
class Parametrised(Protocol):
    """What every template has."""

    @property
    def name(self) -> str: ...
    @property
    def level(self) -> int: ...
    @property
    def params(self) -> Mapping[str, Sequence[object]]: ...


Made = TypeVar("Made", bound=Parametrised)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFamily(Generic[Made]):
    """A kind of programming task."""

    name: str
    templates: tuple[Made, ...]
    prompt: Callable[[Made, Params, str], Prompt]
    """(template, parameters, language) -> the question."""


FUNCTIONS: CodeFamily[Template] = CodeFamily(
    name="code_function",
    templates=TEMPLATES,
    prompt=lambda made, params, language: prompt_of(made, params, Form.FUNCTION, language),
)
PROGRAMS: CodeFamily[Template] = CodeFamily(
    name="code_stdin",
    templates=TEMPLATES,
    prompt=lambda made, params, language: prompt_of(made, params, Form.STDIN, language),
)
REPAIRED = CodeFamily(name="code_repair", templates=REPAIRS, prompt=repair_prompt)


class CodeTask(Generic[Made]):
    """One family at some levels in some languages. Implements `Task`.

    Train is endless: prompt i is drawn at random from its own address, each template of a level equally likely. The
    held-out splits hold each problem once a language, templates in turn; asked for more, they raise DataError.
    """

    def __init__(self, family: CodeFamily[Made], *, languages: Sequence[str], levels: Sequence[int], seed: int) -> None:
        self.name = family.name
        self._family = family
        self._languages = tuple(languages)
        self._levels = tuple(levels)
        self._seed = seed
        chosen = [made for made in family.templates if made.level in self._levels]
        self._problems = {
            split: {made: found for made in chosen if (found := problems_of(made, split))} for split in SPLITS
        }
        self._orders: dict[str, list[tuple[Made, Params, str]]] = {}

    def num_prompts(self, split: str) -> int | None:
        """Prompts of a held-out split; None for train, which never ends."""
        check_split(split)
        return None if split == TRAIN else len(self._order(split))

    def draw(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Prompt]:
        """Prompts `start` to `start + count - 1` of a split."""
        check_split(split)
        if split == TRAIN:
            return [self._random(index) for index in range(start, start + count)]
        order = self._order(split)
        if start + count > len(order):
            raise DataError(
                "Z135",
                f"the {split} split of '{self.name}' has {len(order)} questions, {start + count} were asked for",
                why=f"levels {list(self._levels)}, languages {list(self._languages)}",
                fix="ask for fewer questions, or add levels or languages",
            )
        return [self._family.prompt(made, params, language) for made, params, language in order[start : start + count]]

    def _random(self, index: int) -> Prompt:
        stream = Stream(key(Address(seed=self._seed, stage="tasks", step=index), self.name, TRAIN))
        language = stream.choice(self._languages)
        level = stream.choice(self._levels)
        made = stream.choice([made for made in self._problems[TRAIN] if made.level == level])
        return self._family.prompt(made, stream.choice(self._problems[TRAIN][made]), language)

    def _order(self, split: str) -> list[tuple[Made, Params, str]]:
        """All prompts of a held-out split: the first of every template, then the second of every one, and so on."""
        if split not in self._orders:
            stream = Stream(key(Address(seed=self._seed, stage="tasks", step=0), self.name, split))
            ranked = [
                (rank, made, params, language)
                for made, problems in self._problems[split].items()
                for rank, (params, language) in enumerate(stream.shuffle(list(product(problems, self._languages))))
            ]
            ranked = sorted(stream.shuffle(ranked), key=lambda entry: entry[0])
            self._orders[split] = [(made, params, language) for _, made, params, language in ranked]
        return self._orders[split]


def problems_of(made: Parametrised, split: str) -> list[Params]:
    """The parameters of a template's problems that belong to a split."""
    every = [dict(zip(made.params, values, strict=True)) for values in product(*made.params.values())]
    return [params for params in every if split_of(content_id(["code", made.name, params])) == split]


CODE_FAMILIES: Mapping[str, CodeFamily[Any]] = MappingProxyType(
    {family.name: family for family in (FUNCTIONS, PROGRAMS, REPAIRED)}
)
