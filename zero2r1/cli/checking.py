"""Verbs that check before anything runs: doctor, explain, data check, reward test, config explain|check."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from zero2r1.cli.catalog import validate
from zero2r1.cli.output import JsonFlag, UnsafeFlag, console, emit, say, table
from zero2r1.core.errors import ConfigError


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
    unsafe: UnsafeFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Read questions and prove that every gold answer scores 1, before any training."""
    from zero2r1.cli.questions import check_questions

    report = check_questions(source, columns or [], count, unsafe=unsafe)
    if as_json:
        emit(report)
        return
    for name, value in report.items():
        if name != "examples":
            say(f"  {name:<18} {value}")
    for example in report["examples"]:
        say(f"  e.g. [{example['split']}, {example['language']}] {example['question']!r} -> {example['gold']!r}")


def data_cases(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Problems: question, generators, correct, wrong.")],
    out: Annotated[Path, typer.Option("--out", help="Where the questions with their tests are written (.jsonl).")],
    runs: Annotated[int, typer.Option(min=1, help="Times each generator runs.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds give other inputs.")] = 0,
    unsafe: UnsafeFlag = False,
    as_json: JsonFlag = False,
) -> int:
    """Make test cases for programming problems: generators give inputs, known submissions filter them."""
    from zero2r1.cli.casing import make_cases

    reports = make_cases(source, out, num_runs=runs, seed=seed, unsafe=unsafe)
    if as_json:
        emit({"out": str(out), "problems": reports})
    else:
        for report in reports:
            say(f"  row {report['row']}: {report['num_inputs']} inputs, {report['num_valid']} valid, "
                f"{report['num_kept']} kept, {report['num_exposing']} of them expose wrong submissions; "
                f"never exposed: {list(report['unexposed']) or 'none'}")  # fmt: skip
            for reason, count in {**report["no_input"], **report["invalid"]}.items():
                say(f"    {count} dropped: {reason}")
    return 0 if all(report["num_kept"] for report in reports) else 1


def reward_test(
    source: Annotated[
        str, typer.Argument(metavar="FILE::FUNCTION|RECIPE", help="my_rewards.py::brevity, or a recipe's rewards.")
    ],
    cases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cases of your own (.jsonl: question, answer, text, expect).")
    ] = None,
    on: Annotated[Path | None, typer.Option(metavar="RUN", help="Judge a run's stored samples again.")] = None,
    stage: Annotated[str | None, typer.Option(help="With --on: this stage only.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="With --on: so many samples, evenly spread.")] = None,
    unsafe: UnsafeFlag = False,
    as_json: JsonFlag = False,
) -> int:
    """Show what a reward says of right, wrong, unformatted and hostile answers, of cases of your own, or of a run."""
    if cases is None and on is None:
        _fixed_cases(source, as_json)
        return 0
    if cases is not None and on is not None:
        raise ConfigError("Z110", "--cases and --on do not go together", fix="ask for one of them")
    if cases is not None and (stage or sample):
        raise ConfigError("Z110", "--stage and --sample go with --on", fix="leave them out")
    from zero2r1.cli.rejudging import from_cases, from_run, judge, summary
    from zero2r1.cli.rewarding import reward_of

    config, dialect, verdicts = reward_of(source, unsafe=unsafe)
    samples = from_cases(cases, dialect) if cases is not None else from_run(on or Path(), stage=stage, limit=sample)
    rows = judge(samples, config, verdicts)
    found = summary(rows)
    if as_json:
        emit({"reward": source, "summary": found, "cases": rows})
    else:
        shown = rows if cases is not None else [row for row in rows if row["agrees"] is False]
        if shown:
            console().print(_case_table(shown, source))
        _say_summary(found, is_new=cases is not None)
    return 1 if cases is not None and found["disagreements"] else 0


def _fixed_cases(source: str, as_json: bool) -> None:
    from zero2r1.cli.rewarding import score_cases

    rows = score_cases(source)
    if as_json:
        emit({"reward": source, "cases": rows})
    else:
        console().print(_case_table(rows, source))


def _case_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Judged cases: what was expected (where something was), reward, verdict, parts, milliseconds, reasons."""
    parts = sorted({part for row in rows for part in row["parts"]})
    compares = any(row.get("expected") is not None for row in rows)
    cells = [
        [row["case"], *([_expected(row)] if compares else []), _number(row["value"]), row["verdict"],
         *(_number(row["parts"].get(part)) for part in parts), f"{row['ms']:.1f}", "; ".join(row["notes"])]
        for row in rows
    ]  # fmt: skip
    columns = ["case", *(["expected"] if compares else []), "reward", "verdict", *parts, "ms", "why"]
    return table(columns, cells, title=title)


def _expected(row: Mapping[str, Any]) -> str:
    expected = row["expected"]
    text = "–" if expected is None else expected if isinstance(expected, str) else _number(expected)
    return f"{text}  ✗" if row["agrees"] is False else text


def _say_summary(found: Mapping[str, Any], *, is_new: bool) -> None:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found["verdicts"].items())
    say(f"  {found['samples']} samples: {counts}")
    if found["ms_median"] is not None:
        say(f"  time per call: median {found['ms_median']:.2f} ms, 95 % within {found['ms_p95']:.2f} ms")
    told = "not as expected" if is_new else "with another verdict than before"
    say(
        f"  {found['disagreements']} of {found['compared']} {told}",
        style="bold red" if found["disagreements"] else None,
    )
    for change, count in found["changes"].items():
        say(f"    {count:>6}  {change}")


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
