"""Verbs that list and copy: recipes ls|cat|cp|validate and models ls|get."""

from pathlib import Path
from typing import Annotated

import typer

from zero2r1.cli.output import JsonFlag, console, emit, say, table
from zero2r1.core.errors import ConfigError

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or a .yaml file.")]


def ls(as_json: JsonFlag = False) -> None:
    """List the recipes that come with the package."""
    from zero2r1 import recipes

    loaded = [recipes.load(name) for name in recipes.names()]
    rows = [
        {"name": recipe.name, "stages": list(recipe.stages), "description": recipe.description} for recipe in loaded
    ]
    if as_json:
        emit({"recipes": rows})
        return
    cells = [[row["name"], str(len(row["stages"])), row["description"]] for row in rows]
    console().print(table(["recipe", "stages", "what it does"], cells))
    say("run one: zero2r1 run NAME      change one: zero2r1 recipes cp NAME my.yaml")


def cat(recipe: RecipeName, as_json: JsonFlag = False) -> None:
    """Show a recipe's file."""
    from zero2r1 import recipes

    path = recipes.path(recipe)
    text = path.read_text(encoding="utf-8")
    if as_json:
        emit({"path": str(path), "text": text})
    else:
        say(text.rstrip("\n"))


def cp(
    recipe: RecipeName,
    target: Annotated[Path, typer.Argument(help="The new file.")],
    as_json: JsonFlag = False,
) -> None:
    """Copy a recipe to a file of your own. Never overwrites."""
    from zero2r1 import recipes

    source = recipes.path(recipe)
    if target.is_dir():
        target = target / source.name
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise ConfigError("Z412", f"{target} exists already", where=str(target), fix="choose another name") from None
    except FileNotFoundError:
        raise ConfigError(
            "Z100", f"no folder {target.parent}", where=str(target), fix="make the folder first"
        ) from None
    if as_json:
        emit({"from": str(source), "to": str(target)})
    else:
        say(f"{target} written; run it with: zero2r1 run {target}")


def validate(
    recipe: RecipeName,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings to try.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a recipe: every key, every value, the graph of its stages. Nothing runs."""
    from zero2r1 import recipes

    loaded = recipes.load(recipe, overrides or ())
    order = loaded.order()
    if as_json:
        emit({"recipe": loaded.name, "ok": True, "stages": order})
    else:
        say(f"{recipe}: ok, stages {' -> '.join(order)}")


def models_ls(as_json: JsonFlag = False) -> None:
    """List the small real models that can be fetched."""
    from zero2r1.models.fetch import KNOWN, is_fetched

    rows = [
        {"key": key, "fetched": is_fetched(key), "licence": known.licence, "description": known.description}
        for key, known in KNOWN.items()
    ]
    if as_json:
        emit({"models": rows})
        return
    cells = [[row["key"], "yes" if row["fetched"] else "no", row["licence"], row["description"]] for row in rows]
    console().print(table(["model", "here", "licence", "what it is"], cells))
    say("fetch one: zero2r1 models get KEY      any Hugging Face directory works too: model.source=path/to/it")


def models_get(
    key: Annotated[str, typer.Argument(help="A key of `zero2r1 models ls`.")],
    cache: Annotated[Path | None, typer.Option(help="Folder to keep it in. Default: $ZERO2R1_CACHE.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch a model once, check its hash, and keep it as a Hugging Face directory."""
    from zero2r1.models.fetch import cache_folder, get_model

    folder = get_model(key, cache or cache_folder())
    if as_json:
        emit({"key": key, "path": str(folder)})
    else:
        say(f"{key} is in {folder}")
