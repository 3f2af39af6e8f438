"""Verbs that list and copy recipes and models."""

import json

import pytest

from zero2r1 import recipes
from zero2r1.cli import main


def out_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_recipes_ls_lists_every_recipe_of_the_package(capsys):
    assert main(["recipes", "ls", "--json"]) == 0
    listed = json.loads(out_of(capsys))["recipes"]
    assert [row["name"] for row in listed] == recipes.names()
    assert all(row["stages"] and row["description"] for row in listed)


def test_recipes_ls_is_a_table_for_people(capsys):
    assert main(["recipes", "ls"]) == 0
    shown = out_of(capsys)
    assert all(name in shown for name in recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_that_is_copied_is_the_same_recipe(name, tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    assert main(["recipes", "cp", name, str(mine)]) == 0
    assert mine.read_text() == recipes.path(name).read_text()
    assert recipes.load(str(mine)) == recipes.load(name)
    assert main(["recipes", "cat", name]) == 0
    assert mine.read_text().rstrip("\n") in out_of(capsys)


def test_copying_never_overwrites_and_wants_a_folder(tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("keep me")
    assert main(["recipes", "cp", "tiny", str(mine)]) == 2
    assert mine.read_text() == "keep me"
    assert main(["recipes", "cp", "tiny", str(tmp_path / "nowhere" / "mine.yaml")]) == 2
    assert main(["recipes", "cp", "tiny", str(tmp_path)]) == 0
    assert (tmp_path / "tiny.yaml").is_file()


@pytest.mark.parametrize("verb", [["recipes", "validate"], ["config", "check"]])
def test_a_valid_recipe_shows_the_order_of_its_stages(verb, capsys):
    assert main([*verb, "tiny", "--json"]) == 0
    assert json.loads(out_of(capsys)) == {"recipe": "tiny", "ok": True, "stages": recipes.load("tiny").order()}


def test_models_ls_says_what_is_here(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ZERO2R1_CACHE", str(tmp_path))
    assert main(["models", "ls", "--json"]) == 0
    (model, *_) = json.loads(out_of(capsys))["models"]
    assert (model["key"], model["fetched"], model["licence"]) == ("smollm2-135m", False, "Apache-2.0")


def test_a_model_that_nobody_knows_is_refused(capsys):
    assert main(["models", "get", "nonsense"]) == 2
    assert "smollm2-135m" in capsys.readouterr().err


def test_a_model_that_is_here_is_not_fetched_again(capsys, tmp_path):
    folder = tmp_path / "models" / "smollm2-135m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert main(["models", "get", "smollm2-135m", "--cache", str(tmp_path), "--json"]) == 0
    assert json.loads(out_of(capsys)) == {"key": "smollm2-135m", "path": str(folder)}
