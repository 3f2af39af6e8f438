"""The scripts of benchmarks/ as modules: they are no package, so they are imported by their path."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def scripts(root: Path, *names: str) -> Iterator[list[ModuleType]]:
    """The named modules; afterwards neither they nor their neighbours stay imported."""
    folder = str(root / "benchmarks")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if name not in before and str(getattr(module, "__file__", None) or "").startswith(folder):
                del sys.modules[name]
