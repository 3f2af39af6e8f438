"""The list of verbs, and what their failures become: an error in words and an exit code.

Exit codes: 0 done, 1 failed, 2 the user's error, 3 a missing extra, 75 stopped from outside (the same
command goes on). An error that is none of these is a bug and keeps its traceback.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer
from typer.exceptions import TyperException

from zero2r1 import __version__
from zero2r1.cli import asking, catalog, checking, planning, training
from zero2r1.cli.output import say, show_error
from zero2r1.core.errors import UserError

DONE, RESUME_ME = 0, 75

INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""

PANELS: dict[str, tuple[Callable[..., object], ...]] = {
    "Train": (training.demo, training.run, training.resume),
    "Look": (asking.watch, asking.report, asking.trace, asking.eval_),
    "Check before you run": (checking.doctor, planning.plan, checking.explain),
}
"""Top-level verbs by help panel; the name of a verb is the name of its function without a trailing underscore."""

GROUPS: dict[str, tuple[str, tuple[Callable[..., object], ...]]] = {
    "recipes": ("The recipes that come with the package.", (catalog.ls, catalog.cat, catalog.cp, catalog.validate)),
    "models": ("Small real models to start from.", (catalog.models_ls, catalog.models_get)),
    "data": ("Your own questions.", (checking.data_check, checking.data_cases)),
    "reward": ("Rewards, shown on cases.", (checking.reward_test,)),
    "config": ("Settings, explained and checked.", (checking.config_explain, checking.config_check)),
}
"""Verbs of two words: `data_check` of the group `data` is `zero2r1 data check`."""


def make_app() -> typer.Typer:
    """The command line, built on demand: importing this module registers nothing."""
    app = typer.Typer(
        name="zero2r1",
        help="The open DeepSeek-R1 recipe, whole: a base model becomes R1, stage by stage, on the machine you have.",
        epilog="Start with: zero2r1 demo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for panel, verbs in PANELS.items():
        for verb in verbs:
            app.command(verb.__name__.rstrip("_"), rich_help_panel=panel)(verb)
    for name, (help_text, verbs) in GROUPS.items():
        group = typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)
        for verb in verbs:
            group.command(verb.__name__.removeprefix(f"{name}_"))(verb)
        app.add_typer(group, name=name, rich_help_panel="Parts")
    return app


def show_version(asked: bool) -> bool:
    """Answer `--version` before anything else is looked at."""
    if asked:
        say(f"zero2r1 {__version__}")
        raise typer.Exit(DONE)
    return asked


def root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and stop.", is_eager=True, callback=show_version
    ),
) -> None:
    """The open DeepSeek-R1 recipe, whole: a base model becomes R1, stage by stage, on the machine you have."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. `zero2r1` on the shell is this function."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    quiet_libraries()
    try:
        with ends_by_signal():
            result = make_app()(args=words, prog_name="zero2r1", standalone_mode=False)
    except UserError as error:
        show_error(str(error), as_json=as_json, details={"code": error.code, "exit_code": error.exit_code})
        return error.exit_code
    except TyperException as error:
        if error.format_message():  # empty for a group without a verb, whose help was shown instead
            show_error(f"error {error.format_message()}\n  fix: zero2r1 --help", as_json=as_json)
        return error.exit_code
    if result == INTERRUPTED:
        say("stopped; nothing finished is lost: the same command goes on from here", stderr=True)
        return RESUME_ME
    return result if isinstance(result, int) else DONE


def quiet_libraries() -> None:
    """Tell libraries that are imported later to show no bars and lines of their own; the user's settings win."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch.profiler's library, for `run --profile`


@contextmanager
def ends_by_signal() -> Iterator[None]:
    """Make SIGTERM (a scheduler's pre-emption) end a command the way Ctrl-C does. Ours: exit code 75 for both."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
