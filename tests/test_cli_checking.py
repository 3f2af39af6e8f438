"""Verbs that check before anything runs."""

import json

import pytest

from zero2r1.cli import main
from zero2r1.cli.machine import numbers, problems


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_doctor_is_content_with_this_machine(capsys):
    found = answer(capsys, "doctor")
    assert found["problems"] == []
    assert {"python", "torch", "cores", "memory", "gpu", "extras"} <= set(found["facts"])
    assert found["facts"]["sandbox"].startswith(("tier A", "tier B", "none"))


def test_doctor_names_what_is_missing_or_old_and_how_to_get_it():
    found = {"torch": "2.9.1+cpu", "transformers": "missing", "math-verify": "0.9.0", "jaxtyping": "0.3.11"}
    assert problems(found) == [
        "torch 2.9.1+cpu is older than 2.11: pip install 'torch>=2.11'",
        "transformers is not installed: pip install 'transformers>=5.16'",
    ]


def test_versions_are_compared_as_numbers():
    assert numbers("2.13.0+cpu") > numbers("2.9") > numbers("2.8.4")


def test_explain_has_the_page_of_a_code(capsys):
    assert answer(capsys, "explain", "z310")["text"].startswith("Z310: no learning signal")


def test_config_explain_tells_the_default_and_where_it_comes_from(capsys):
    found = answer(capsys, "config", "explain", "rl.kl_coef")
    assert found["default"] == "0.001"
    assert "DeepSeek-R1" in found["doc"]


def test_config_explain_suggests_what_was_meant(capsys):
    assert main(["config", "explain", "rl.kl_coeff"]) == 2
    assert "kl_coef" in capsys.readouterr().err


def test_a_reward_of_ones_own_is_shown_on_the_cases(capsys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def short(prompt, completion):\n    return 1.0 if len(completion.text) < 100 else 0.0\n")
    cases = {row["case"]: row for row in answer(capsys, "reward", "test", f"{file}::short")["cases"]}
    assert cases["nothing"]["value"] == 1.0
    assert cases["right, very long"]["value"] == 0.0
    assert (cases["right"]["verdict"], cases["wrong"]["verdict"]) == ("right", "wrong")


def test_a_reward_that_raises_becomes_an_error_with_its_reason(capsys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def broken(prompt, completion):\n    return 1 / 0\n")
    row = answer(capsys, "reward", "test", f"{file}::broken")["cases"][0]
    assert (row["value"], row["verdict"]) == (None, "error")
    assert any("ZeroDivisionError" in note for note in row["notes"])


def test_the_rewards_of_a_recipe_pay_for_right_and_readable_answers_only(capsys):
    cases = {row["case"]: row for row in answer(capsys, "reward", "test", "tiny")["cases"]}
    best = max(row["value"] for row in cases.values())
    assert cases["right"]["value"] == best
    for case in ("wrong", "right, no tags", "right only in the thinking", "two answers", "nothing"):
        assert cases[case]["value"] < best, case
        assert cases[case]["parts"]["accuracy"] == 0.0, case


def test_reward_test_is_a_table_for_people(capsys):
    assert main(["reward", "test", "tiny"]) == 0
    assert "right only in the thinking" in capsys.readouterr().out


def test_data_check_counts_refuses_and_proves(capsys, tmp_path):
    file = tmp_path / "mine.jsonl"
    rows = [{"question": f"What is {n}+1?", "solution": str(n + 1)} for n in range(10)]
    file.write_text("\n".join([*(json.dumps(row) for row in rows), "not JSON", ""]))
    found = answer(capsys, "data", "check", str(file), "--map", "answer=solution")
    assert (found["rows"], found["usable"], found["gold answers"].split()[1:]) == (11, 10, ["scored", "1"])
    assert "1" in found["refused"]
    assert len(found["examples"]) == 3


def test_data_check_of_a_recipe_looks_at_all_its_tasks(capsys):
    found = answer(capsys, "data", "check", "tiny", "--count", "8")
    assert found["languages"].startswith("en ")
    assert "zh " in found["languages"]


def test_a_column_map_reads_ours_equals_yours(capsys, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1?", "solution": "2"}\n')
    assert main(["data", "check", str(tmp_path / "mine.jsonl"), "--map", "answer"]) == 2
    assert "answer=solution" in capsys.readouterr().err
