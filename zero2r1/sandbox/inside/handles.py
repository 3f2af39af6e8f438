"""Stand-ins for a program that lives in another box, for the box of the tests (`tester.py`).

The program's functions, classes and modules stand here as handles. Calls, attributes, items, length, iteration and text
of a handle are asked of the program; equality (identity only), comparison, arithmetic and truth are not, so no object
of the program can claim to equal what a test expects. Its exceptions arrive as builtin ones or as stand-ins made here.

What is not here: running tests.
"""

import builtins
import json
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NUMBER = "_zero2r1_number"
FAR = "_zero2r1_far"


class UnsupportedError(Exception):
    """The tests want something that cannot cross between boxes: nobody can be judged by them."""


class FarError(Exception):
    """The program raised something of its own, or answered with something that is no value."""


class Handle:
    """A stand-in for an object of the program."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)
        return ask(self, "attr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        ask(self, "set", name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return ask(self, "call", *arguments, **named)

    def __len__(self) -> int:
        return ask(self, "len")

    def __getitem__(self, key: Any) -> Any:
        return ask(self, "item", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        ask(self, "put", key, value)

    def __delitem__(self, key: Any) -> None:
        ask(self, "drop", key)

    def __iter__(self) -> Any:
        return ask(self, "iter")

    def __next__(self) -> Any:
        return ask(self, "next")

    def __enter__(self) -> Any:
        return ask(self, "enter")

    def __exit__(self, *raised: object) -> None:
        ask(self, "exit")  # returns None: a manager of the program never swallows what a test raises

    def __str__(self) -> str:
        return ask(self, "str")

    def __repr__(self) -> str:
        return ask(self, "repr")

    def __bool__(self) -> bool:
        raise TypeError("the truth of an object of the program is not asked")


class HandleClass(type):
    """A stand-in for a class of the program, so that `isinstance` can be answered here."""

    def __new__(cls, name: str, bases: tuple[type, ...], content: dict[str, Any]) -> "HandleClass":
        if "__qualname__" in content:
            raise UnsupportedError("a test extends a class of the program")
        return super().__new__(cls, name, bases, content)

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return ask(cls, "call", *arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return ask(cls, "attr", name)

    def __setattr__(cls, name: str, value: Any) -> None:
        ask(cls, "set", name, value)


class HandleModule(ModuleType):
    """A stand-in for a module of the project."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return ask(self, "attr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or isinstance(value, HandleModule):
            super().__setattr__(name, value)
        else:
            ask(self, "set", name, value)


def ask(handle: Any, do: str, *arguments: Any, **named: Any) -> Any:
    """What the program says when something is done with one of its objects."""
    far = vars(handle)[FAR]
    return far.ask(do, vars(handle)[NUMBER], arguments, named)


class Far:
    """The conversation with the program."""

    def __init__(self, requests: Any, replies: Any, values: Any) -> None:
        self.requests, self.replies, self.values = requests, replies, values
        self.stand_ins: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.bad = ""
        self.raised: list[BaseException] = []
        self.num_asked = 0

    def say(self, message: dict[str, Any]) -> None:
        """One line out."""
        self.replies.write(json.dumps(message).encode() + b"\n")
        self.replies.flush()

    def ask(self, do: str, on: int | None, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """One question to the program and its answer."""
        request: dict[str, Any] = {"do": do, "with": [self.tree(each) for each in arguments]}
        request |= {"named": [[name, self.tree(each)] for name, each in named.items()]}
        request |= {} if on is None else {"on": on}
        self.say({"ask": request})
        self.num_asked += 1
        try:
            reply = json.loads(self.requests.readline())
            result = self.values.decode(reply["ok"], self.stand_in) if "ok" in reply else None
            error = self.error(reply["raise"]) if "raise" in reply else None
        except Exception as problem:  # noqa: BLE001  untrusted border: whatever it answered, it is no value
            result, error = None, FarError(f"it answered with no value: {problem}")
        if error is not None:
            self.raised.append(error)
            raise error
        return result

    def tree(self, value: Any) -> Any:
        """The tree of an argument."""
        try:
            return self.values.encode(value, self.carry)
        except self.values.NotCarriedError as problem:
            self.bad = f"a test passes on what cannot be carried: {problem}"
            raise UnsupportedError(self.bad) from problem

    def carry(self, value: Any) -> dict[str, int]:
        """The tree of a stand-in."""
        number = self.numbers.get(id(value))
        if number is None:
            self.bad = f"a test passes on what cannot be carried: a {type(value).__name__}"
            raise UnsupportedError(self.bad)
        return {"h": number}

    def stand_in(self, about: dict[str, Any]) -> Any:
        """What stands here for an object of the program. The same object has one stand-in."""
        number = int(about["n"])
        if number not in self.stand_ins:
            made = self.make(about, number)
            self.stand_ins[number] = made
            self.numbers[id(made)] = number
        return self.stand_ins[number]

    def make(self, about: dict[str, Any], number: int) -> Any:
        """A new stand-in."""
        marks = {FAR: self, NUMBER: number}
        if about["kind"] == "class":
            bases = tuple(self.stand_in(base["h"]) for base in about["bases"])
            if about["error"]:
                builtin = builtin_error(about["error"])
                bases += () if any(issubclass(base, builtin) for base in bases) else (builtin,)
                return type(str(about["name"]), bases, {})
            return HandleClass(str(about["name"]), bases or (Handle,), marks)
        if about["kind"] == "module":
            made: Any = HandleModule(str(about["name"]))
        else:
            own = self.stand_in(about["of"]["h"]) if about.get("of") else Handle
            made = object.__new__(own)
        vars(made).update(marks)
        return made

    def error(self, about: dict[str, Any]) -> Exception:
        """The exception that stands for one of the program's."""
        arguments = [self.values.decode(each) for each in about["args"]]
        kind = self.stand_in(about["class"]["h"]) if about["class"] else builtin_error(about["error"])
        try:
            error = kind(*arguments)
            vars(error).update({str(name): self.values.decode(each) for name, each in about["fields"]})
        except TypeError:  # some builtin errors want their arguments in a form of their own
            error = FarError(f"{about['name']}: {about['text']}")
        return error


def builtin_error(name: str) -> type[Exception]:
    """A builtin exception by name; FarError for anything that a test runner would take as a wish to end or to skip."""
    found = getattr(builtins, str(name), None)
    return found if isinstance(found, type) and issubclass(found, Exception) else FarError


class Project:
    """Imports modules of the project as stand-ins."""

    def __init__(self, far: Far, modules: list[str]) -> None:
        self.far, self.modules = far, modules

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Part of the import protocol."""
        if name.partition(".")[0] not in self.modules:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Part of the import protocol: the program imports its module, a stand-in comes back."""
        made = self.far.ask("import", None, (spec.name,), {})
        if not isinstance(made, HandleModule):
            raise ImportError("the program has no such module", name=spec.name)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Part of the import protocol: it ran in its own box."""
