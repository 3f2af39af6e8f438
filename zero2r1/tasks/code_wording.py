"""A code template as a question and as a whole program, in both forms and both languages.

What is not here: the templates, and what a problem computes (`code_templates.py`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from zero2r1.core.problems import CodeProblem, Form
from zero2r1.core.types import AnswerKind, Message, Prompt
from zero2r1.tasks.code_templates import Arg, Case, Kind, Params, Template, cases_of, filled, lines_of, printed

ANSWER_FORM: Mapping[str, str] = MappingProxyType(
    {
        "en": "Put the whole program into one block that begins with ```python and ends with ```.",
        "zh": "请把完整的程序写在一个以```python开头、以```结尾的代码块中。",
    }
)
RESULTS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.INT: ("an integer", "一个整数"),
        Kind.FLOAT: ("a float", "一个浮点数"),
        Kind.BOOL: ("`True` or `False`", "`True`或`False`"),
        Kind.TEXT: ("a string", "一个字符串"),
        Kind.INTS: ("a list of integers", "一个整数列表"),
        Kind.WORDS: ("a list of strings", "一个字符串列表"),
        Kind.GRID: ("a list of rows, each a list of integers", "由行组成的列表，每行是一个整数列表"),
    }
)
OUTPUTS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.INT: ("one integer", "一个整数"),
        Kind.FLOAT: ("one decimal number", "一个小数"),
        Kind.BOOL: ("`yes` or `no`", "`yes`或`no`"),
        Kind.TEXT: ("one line of text, which may be empty", "一行文本，可能为空"),
        Kind.INTS: ("the integers on one line, separated by spaces", "在一行中输出各整数，用空格分隔"),
        Kind.WORDS: ("the words on one line, separated by spaces", "在一行中输出各单词，用空格分隔"),
        Kind.GRID: ("each row on a line of its own, entries separated by spaces", "每行占一行，各数用空格分隔"),
    }
)
INPUTS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.INT: ("one line with the integer `{name}`", "一行，整数`{name}`"),
        Kind.TEXT: ("one line with `{name}`, which may be empty", "一行，字符串`{name}`，可能为空"),
        Kind.INTS: (
            "one line with the length of `{name}`, then one line with its entries, separated by spaces (an empty line "
            "if there are none)",
            "一行，`{name}`的长度；再一行，其中各数用空格分隔（没有数时为空行）",
        ),
        Kind.WORDS: (
            "one line with the number of `{name}`, then each word on a line of its own",
            "一行，`{name}`中单词的个数；然后每个单词占一行",
        ),
        Kind.GRID: (
            "one line with the numbers of rows and columns of `{name}` (`0 0` if it is empty), then each row on a line "
            "of its own, entries separated by spaces",
            "一行，`{name}`的行数和列数（为空时是`0 0`）；然后每行占一行，各数用空格分隔",
        ),
    }
)
READERS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.INT: "{name} = int(input())",
        Kind.TEXT: "{name} = input()",
        Kind.INTS: "input()\n{name} = [int(item) for item in input().split()]",
        Kind.WORDS: "{name} = [input() for _ in range(int(input()))]",
        Kind.GRID: "{name} = [[int(item) for item in input().split()] for _ in range(int(input().split()[0]))]",
    }
)
WRITERS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.INT: "print({call})",
        Kind.FLOAT: "print({call})",
        Kind.TEXT: "print({call})",
        Kind.BOOL: 'print("yes" if {call} else "no")',
        Kind.INTS: "print(*{call})",
        Kind.WORDS: "print(*{call})",
        Kind.GRID: "for row in {call}:\n    print(*row)",
    }
)


def prompt_of(made: Template, params: Params, form: Form, language: str) -> Prompt:
    """A problem as a prompt: statement, form of input and output, one example, form of the answer.

    Args:
        made: the template.
        params: a value for each of its parameters.
        form: function or stdin.
        language: `zh`, else English.
    """
    example, *hidden = cases_of(made, params)
    side = 1 if language == "zh" else 0
    task = filled(made.zh if side else made.en, params)
    parts = [task, *_form_lines(made, form, side), _example(made, example, form, side), ANSWER_FORM[language]]
    tests = tuple(case.as_call() if form is Form.FUNCTION else case.as_lines(made) for case in hidden)
    problem = CodeProblem(
        form=form,
        io_tests=tests,
        entry_point=made.name if form is Form.FUNCTION else "",
        tolerance=made.tolerance,
    )
    return Prompt(
        messages=(Message(role="user", content="\n\n".join(parts)),),
        reference=problem.to_reference(),
        gold=program_of(made, params, form),
        answer_kind=AnswerKind.CODE,
        domain=f"code_{form.value}",
        language=language,
        level=made.level,
    )


def program_of(made: Template, params: Params, form: Form, *, is_mutant: bool = False) -> str:
    """The right program, or the wrong one of `made.mutant`, whole: a reader of the reply needs nothing else."""
    body = made.body.replace(*made.mutant) if is_mutant else made.body
    names = ", ".join(arg.name for arg in made.args)
    inner = "\n".join(f"    {line}" if line else "" for line in filled(body, params).split("\n"))
    function = f"def {made.name}({names}):\n{inner}\n"
    if form is Form.FUNCTION:
        return function
    reads = "\n".join(READERS[arg.kind].format(name=arg.name) for arg in made.args)
    return f"{function}\n\n{reads}\n{WRITERS[made.out].format(call=f'{made.name}({names})')}\n"


def _form_lines(made: Template, form: Form, side: int) -> list[str]:
    if form is Form.FUNCTION:
        call = f"{made.name}({', '.join(arg.name for arg in made.args)})"
        kinds = [f"`{arg.name}`: {RESULTS[arg.kind][side]}" for arg in made.args]
        if side:
            return [f"请用Python编写函数`{call}`，返回{RESULTS[made.out][1]}。参数：{'；'.join(kinds)}。"]
        return [f"Write a Python function `{call}` that returns {RESULTS[made.out][0]}. Arguments: {'; '.join(kinds)}."]
    given = "\n".join(f"- {_input_line(arg, side)}" for arg in made.args)
    if side:
        return [
            "请编写一个Python程序，从标准输入读取数据，并打印结果。",
            f"输入：\n{given}",
            f"输出：{OUTPUTS[made.out][1]}",
        ]
    opening = "Write a Python program that reads from standard input and prints the result."
    return [opening, f"Input:\n{given}", f"Output: {OUTPUTS[made.out][0]}"]


def _input_line(arg: Arg, side: int) -> str:
    return INPUTS[arg.kind][side].format(name=arg.name)


def _example(made: Template, case: Case, form: Form, side: int) -> str:
    if form is Form.FUNCTION:
        call = f"{made.name}({', '.join(map(repr, case.args))})"
        middle = "返回" if side else " returns "
        return f"{'例如：' if side else 'Example: '}`{call}`{middle}`{case.result!r}`"
    given = "".join(lines_of(value, arg.kind) for value, arg in zip(case.args, made.args, strict=True))
    first, second = ("输入样例：", "输出样例：") if side else ("Example input:", "Example output:")
    return f"{first}\n```\n{given}```\n{second}\n```\n{printed(case.result)}```"
