"""Verbs that check before anything runs: doctor, explain, data check, reward test, config explain|check."""

from typing import Annotated

import typer

from zero2r1.cli.catalog import validate
from zero2r1.cli.output import JsonFlag, console, emit, say, table


def doctor(as_json: JsonFlag = False) -> int:
    """What this machine has, and what it can run."""
    from zero2r1.cli.machine import facts, problems

    found = facts()
    wrong = problems(found)
    if as_json:
        emit({"facts": found, "problems": wrong})
        return 1 if wrong else 0
    for name, value in found.items():
        say(f"  {name:<14} {value}")
    for problem in wrong:
        say(f"  problem: {problem}", style="bold red")
    if not wrong:
        say("  all needed parts are here; try: zero2r1 demo")
    return 1 if wrong else 0


def explain(
    code: Annotated[str, typer.Argument(help="An error code such as Z104.")],
    as_json: JsonFlag = False,
) -> None:
    """The page behind an error code."""
    from zero2r1.core.errors import explain as page_of

    text = page_of(code)
    if as_json:
        emit({"code": code.upper(), "text": text})
    else:
        say(text)


def data_check(
    source: Annotated[str, typer.Argument(metavar="FILE|RECIPE", help="A .jsonl or .csv file, or a recipe.")],
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="ours=yours", help="Column map, e.g. answer=solution.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Questions whose gold answer is scored.")] = 64,
    as_json: JsonFlag = False,
) -> None:
    """Read questions and prove that every gold answer scores 1, before any training."""
    from zero2r1.cli.questions import check_questions

    report = check_questions(source, columns or [], count)
    if as_json:
        emit(report)
        return
    for name, value in report.items():
        if name != "examples":
            say(f"  {name:<18} {value}")
    for example in report["examples"]:
        say(f"  e.g. [{example['split']}, {example['language']}] {example['question']!r} -> {example['gold']!r}")


def reward_test(
    source: Annotated[
        str, typer.Argument(metavar="FILE::FUNCTION|RECIPE", help="my_rewards.py::brevity, or a recipe's rewards.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show what a reward says of right, wrong, unformatted and hostile answers."""
    from zero2r1.cli.rewarding import score_cases

    rows = score_cases(source)
    if as_json:
        emit({"reward": source, "cases": rows})
        return
    parts = sorted({part for row in rows for part in row["parts"]})
    cells = [
        [row["case"], _number(row["value"]), row["verdict"], *(_number(row["parts"].get(part)) for part in parts),
         f"{row['ms']:.1f}", "; ".join(row["notes"])]
        for row in rows
    ]  # fmt: skip
    console().print(table(["case", "reward", "verdict", *parts, "ms", "why"], cells, title=source))


def config_explain(
    key: Annotated[str, typer.Argument(help="A dotted key such as rl.kl_coef.")],
    as_json: JsonFlag = False,
) -> None:
    """What a setting means, its default, and where the default comes from."""
    from zero2r1.core.config import describe
    from zero2r1.recipes import Recipe

    found = describe(Recipe, key)
    if as_json:
        emit({"key": key, "type": str(found.type), "default": found.default, "doc": found.doc})
        return
    say(f"{key}: {found.type}", style="bold")
    say(f"  default: {found.default}")
    for line in found.doc.splitlines():
        say(f"  {line.strip()}")


def config_check(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or a .yaml file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings to try.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """The same as `recipes validate`: every key, every value, the graph of stages."""
    validate(recipe, overrides, as_json)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
