"""The box of a candidate: runs a program nobody vouches for and calls it, one JSON line a request.

It gets inputs only. What it answers are claims about the program's own values, so a program that takes over this
process can do no more than claim other values; the trusted side compares them.

First line in: `{"values": source of values.py, "sources": [...], "files": {path: source}, "keeps": bool}`. It and every
request `{"do": name, "on": handle, "with": trees, "named": pairs}` get one reply: `{"ok": tree}`, `{"raise": {...}}`,
or `{"odd": text}` for a value that cannot be carried. With `keeps`, such values stay here and a handle travels instead.
"""

import json
import operator
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

NAME = "solution"
MAX_TEXT = 300


class Files:
    """Imports a project from its sources in memory. A folder is a package even without an `__init__.py`."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Part of the import protocol."""
        place = name.replace(".", "/")
        is_package = any(file.startswith(place + "/") for file in self.files)
        if not is_package and place + ".py" not in self.files:
            return None
        origin = place + ("/__init__.py" if is_package else ".py")
        spec = ModuleSpec(name, self, origin=origin, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Part of the import protocol: an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Part of the import protocol."""
        origin = module.__spec__.origin if module.__spec__ else ""
        exec(compile(self.files.get(origin or "", ""), origin or "", "exec"), module.__dict__)


class Objects:
    """Values that stay in this box, by number. They are kept, so that a number never means two things."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}

    def carry(self, value: Any) -> dict[str, Any]:
        """The tree of a handle."""
        number = self.numbers.setdefault(id(value), len(self.kept))
        if number == len(self.kept):
            self.kept.append(value)
        if isinstance(value, type):
            return {"h": {"n": number, "kind": "class", **self.about(value)}}
        if isinstance(value, ModuleType):
            return {"h": {"n": number, "kind": "module", "name": value.__name__}}
        if isinstance(value, (FunctionType, MethodType, BuiltinFunctionType)):
            return {"h": {"n": number, "kind": "function"}}
        kind = type(value)
        return {"h": {"n": number, "kind": "object", "of": None if is_builtin(kind) else self.carry(kind)}}

    def about(self, kind: type) -> dict[str, Any]:
        """What the other side needs to stand in for a class: its name, its own bases, the builtin error it extends."""
        own = [base for base in kind.__bases__ if not is_builtin(base)]
        return {"name": kind.__name__, "bases": [self.carry(base) for base in own], "error": builtin_error(kind)}


def is_builtin(kind: type) -> bool:
    """True for a class that every interpreter has."""
    return kind.__module__ == "builtins"


def builtin_error(kind: type) -> str | None:
    """The nearest builtin exception a class is or extends, None when it is no exception."""
    if not issubclass(kind, BaseException):
        return None
    return next(base.__name__ for base in kind.__mro__ if is_builtin(base))


def as_list(value: Any) -> Any:
    """Iterators and sequences that no literal can state, as a list; anything else as it is."""
    kind = type(value)
    is_iterator = hasattr(kind, "__next__") and hasattr(kind, "__iter__")
    is_view = kind.__name__ in ("range", "dict_keys", "dict_values", "dict_items", "deque")
    return list(value) if is_iterator or is_view else value


def call_entry(module: ModuleType, name: str, arguments: tuple[Any, ...]) -> Any:
    """The result of a function, or of a method of a fresh object: `Class.method`."""
    owner, _, method = name.rpartition(".")
    if not owner:
        return as_list(getattr(module, method)(*arguments))
    return as_list(getattr(getattr(module, owner)(), method)(*arguments))


class Program:
    """The candidate's program and what is done with it."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.values: Any = ModuleType("values")
        exec(compile(first["values"], "values", "exec"), self.values.__dict__)
        self.objects = Objects()
        self.carry = self.objects.carry if first["keeps"] else None
        self.module = ModuleType(NAME)
        self.operations: dict[str, Callable[..., Any]] = {
            "run": lambda name, *arguments: call_entry(self.module, name, arguments),
            "name": lambda name: getattr(self.module, name),
            "import": import_module,
            "call": lambda callee, *arguments, **named: callee(*arguments, **named),
            "attr": getattr,
            "set": setattr,
            "len": len,
            "iter": iter,
            "next": next,
            "item": operator.getitem,
            "put": operator.setitem,
            "drop": operator.delitem,
            "str": str,
            "repr": repr,
            "enter": lambda manager: type(manager).__enter__(manager),
            "exit": lambda manager: type(manager).__exit__(manager, None, None, None),
        }

    def load(self, first: dict[str, Any]) -> dict[str, Any]:
        """Run the sources. The first one (a prompt with helpers) may rely on names that come later."""
        if first["files"]:
            sys.meta_path.insert(0, Files(first["files"]))
        else:
            sys.modules[NAME] = self.module  # data classes look their module up
        *before, program = first["sources"]
        for source in before:
            try:
                exec(compile(source, "setup", "exec"), self.module.__dict__)
            except Exception:  # noqa: BLE001  untrusted border: what is missing will be missed later
                continue
        exec(compile(program, NAME, "exec"), self.module.__dict__)
        return {"ok": None}

    def decode(self, tree: Any) -> Any:
        """The value of a tree; a handle is the value kept here."""
        return self.values.decode(tree, lambda number: self.objects.kept[number])

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request."""
        arguments = [self.decode(tree) for tree in request.get("with", ())]
        named = {name: self.decode(tree) for name, tree in request.get("named", ())}
        if "on" in request:
            arguments.insert(0, self.objects.kept[request["on"]])
        result = self.operations[request["do"]](*arguments, **named)
        try:
            return {"ok": self.values.encode(result, self.carry)}
        except self.values.NotCarriedError as problem:
            return {"odd": str(problem)}

    def raised(self, error: Exception) -> dict[str, Any]:
        """The reply for an exception: what it is and, as far as they are plain, its arguments and attributes."""
        return {
            "raise": {
                "class": self.objects.carry(type(error)) if self.carry and not is_builtin(type(error)) else None,
                "name": type(error).__name__,
                "error": builtin_error(type(error)),
                "args": [self.plain(argument) for argument in error.args],
                "fields": [[name, self.plain(value)] for name, value in vars(error).items()],
                "text": text_of(error),
            }
        }

    def plain(self, value: Any) -> Any:
        """The tree of a plain value, None for any other."""
        try:
            return self.values.encode(value)
        except self.values.NotCarriedError:
            return None

    def reply(self, work: Callable[[Any], dict[str, Any]], argument: Any) -> str:
        """A line for the trusted side."""
        try:
            return json.dumps(work(argument))
        except Exception as error:  # noqa: BLE001  untrusted border: an exception is a reply
            return json.dumps(self.raised(error))


def text_of(error: Exception) -> str:
    """What an exception says, cut. A program's own exception may fail even at that."""
    try:
        return str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001  untrusted border: it says nothing then
        return ""


def private_ends() -> tuple[Any, Any]:
    """Our own ends of the conversation. The program finds its input at its end and its output on standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty, unused = os.pipe()
    os.close(unused)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return requests, replies


def main() -> None:
    """Load, then answer until the other side has heard enough."""
    requests, replies = private_ends()

    def say(line: str) -> None:
        replies.write(line.encode() + b"\n")
        replies.flush()

    first = json.loads(requests.readline())
    program = Program(first)
    say(program.reply(program.load, first))
    for line in requests:
        say(program.reply(program.answer, json.loads(line)))
    os._exit(0)  # its threads and exit handlers have nothing left to say


if __name__ == "__main__":
    main()
