"""Recipes: whole runs as YAML files. `names()` lists those that come with the package, `load()` reads any."""

from zero2r1.recipes.recipe import Recipe, load, names, path, settled

__all__ = ["Recipe", "load", "names", "path", "settled"]
