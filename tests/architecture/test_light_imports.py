"""The lower floor and the front door load neither torch nor transformers; importing anything changes nothing."""

import json
import subprocess
import sys
import time

import pytest
from source_tree import PACKAGE, ROOT, python_files

from zero2r1.models.device import has_driver

HEAVY = ("torch", "transformers", "math_verify", "sympy", "datasets")
LIGHT_ROOMS = ("core", "tasks", "rewards", "report", "cli")
REPORT = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"


def modules_after(code: str) -> set[str]:
    """The top-level modules a fresh interpreter holds after running `code`."""
    command = [sys.executable, "-c", f"{code}\n{REPORT}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def module_name(path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_importing_every_module_of_a_light_room_loads_nothing_heavy(room):
    names = [module_name(path) for path in python_files(f"zero2r1/{room}")]
    loaded = modules_after("\n".join(f"import {name}" for name in names))
    assert loaded.isdisjoint(HEAVY)
    assert "zero2r1" in loaded


def test_help_loads_nothing_heavy():
    loaded = modules_after("from zero2r1.cli import main\nassert main(['--help']) == 0")
    assert loaded.isdisjoint({*HEAVY, "pydantic_core", "yaml", "numpy"})
    assert "typer" in loaded


def test_help_answers_at_once():
    """Half a second on a quiet machine; three times that on a busy one, best of three."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        command = [sys.executable, "-m", "zero2r1", "--help"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1.5


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("auto", marks=pytest.mark.skipif(has_driver(), reason="a GPU"))]
)
def test_reading_a_recipe_loads_no_torch(device):
    """But where there is the driver of a GPU: whether torch can use it, only torch knows."""
    code = f"from zero2r1 import recipes\nfor name in recipes.names(): recipes.load(name, ['device={device}'])"
    loaded = modules_after(code)
    assert loaded.isdisjoint({"torch", "transformers"})


def test_importing_the_package_does_not_touch_the_global_random_state():
    """Of numpy and torch. Python's own is drawn from by rich when it is imported; we never use it."""
    code = (
        "import numpy, torch\n"
        "before = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()\n"
        "import importlib, importlib.util, pkgutil, zero2r1\n"
        "has_triton = importlib.util.find_spec('triton') is not None\n"
        "for found in pkgutil.walk_packages(zero2r1.__path__, 'zero2r1.'):\n"
        "    is_triton = found.name.startswith('zero2r1.models.gpu.') and not found.name.endswith('.ops')\n"
        "    if found.name.endswith('__main__') or (is_triton and not has_triton): continue\n"
        "    importlib.import_module(found.name)\n"
        "after = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()\n"
        "assert before == after\n"
        "assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32\n"
    )
    assert "torch" in modules_after(code)


def test_there_is_a_light_room_for_each_folder_named():
    assert all((PACKAGE / room).is_dir() for room in LIGHT_ROOMS)
