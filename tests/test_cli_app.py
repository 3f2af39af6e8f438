"""The front door: verbs, exit codes, errors for people and for programs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zero2r1 import __version__
from zero2r1.cli import main
from zero2r1.cli.app import GROUPS, PANELS
from zero2r1.core.errors import MissingExtraError, RunError


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    out, _ = shown(capsys)
    verbs = [verb.__name__.rstrip("_") for verbs in PANELS.values() for verb in verbs]
    assert [name for name in (*verbs, *GROUPS) if f" {name} " not in out] == []


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_verb_shows_its_help(group, capsys):
    assert main([group]) == 2
    out, err = shown(capsys)
    assert f"zero2r1 {group}" in out
    assert err == ""


def test_every_verb_has_json_and_help(capsys):
    words = [[verb.__name__.rstrip("_")] for verbs in PANELS.values() for verb in verbs]
    words += [[name, verb.__name__.removeprefix(f"{name}_")] for name, (_, verbs) in GROUPS.items() for verb in verbs]
    for verb in words:
        assert main([*verb, "--help"]) == 0
        assert "--json" in shown(capsys)[0], verb


def test_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert shown(capsys)[0] == f"zero2r1 {__version__}\n"


@pytest.mark.parametrize("words", [["nonsense"], ["run"], ["doctor", "--nonsense"], ["recipes", "nonsense"]])
def test_a_wrong_command_line_is_the_users_error(words, capsys):
    assert main(words) == 2
    out, err = shown(capsys)
    assert out == ""
    assert err.startswith("error ")
    assert "fix: zero2r1 --help" in err


def test_an_error_is_told_on_stderr_and_given_to_programs_on_stdout(capsys):
    assert main(["recipes", "validate", "no-such-recipe", "--json"]) == 2
    out, err = shown(capsys)
    told = json.loads(out)["error"]
    assert told["exit_code"] == 2
    assert told["code"].startswith("Z1")
    assert err.startswith(f"error {told['code']} ")
    assert "no-such-recipe" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunError("Z407", "training diverged"), 1),
        (MissingExtraError("Z201", "no gguf"), 3),
        (KeyboardInterrupt(), 75),
    ],
)
def test_each_kind_of_end_has_its_exit_code(error, code, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("zero2r1.core.errors.explain", fails)
    assert main(["explain", "Z100"]) == code


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("zero2r1.core.errors.explain", fails)
    with pytest.raises(ZeroDivisionError):
        main(["explain", "Z100"])


def test_a_scheduler_that_ends_a_command_is_told_to_run_it_again(root: Path, tmp_path: Path):
    run = tmp_path / "run"
    (run / "stages").mkdir(parents=True)
    (run / "status.json").write_text('{"state": "running", "stage": "", "time": 0}')
    command = [sys.executable, "-m", "zero2r1", "watch", str(run), "--every", "60"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "running" in process.stdout.readline()  # it is up and waiting
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "the same command goes on" in err


def test_a_reader_that_leaves_is_no_error(root: Path):
    command = f"{sys.executable} -m zero2r1 doctor | true"
    result = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


def test_no_color_means_no_escape_codes(root: Path):
    environment = os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "zero2r1", "explain", "nonsense"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, env=environment)
    assert "\x1b[3" not in result.stderr
    assert "Z199" in result.stderr
