"""What every test shares: one thread, reproducible hypothesis, and the repository's root.

Warnings are errors and shapes are checked while tests run: both are set in pyproject.toml.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported by any test: two spinning threads on two busy cores are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Before triton is imported, which decides then: without a GPU its functions run in Python.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

settings.register_profile("zero2r1", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("zero2r1")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def kernels():
    """The compiled kernels, from where the engine keeps them; without a C++ compiler the test is skipped."""
    from zero2r1.models.kernels.build import NoKernelsError
    from zero2r1.models.kernels.ops import local_kernels

    try:
        return local_kernels()
    except NoKernelsError as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def triton_kernels():
    """The kernels of a GPU: on one, or interpreted on the CPU. `device_type` says which."""
    import torch

    pytest.importorskip("triton")
    from zero2r1.models.gpu import layers, logits
    from zero2r1.models.gpu.ops import GpuKernels

    has_gpu = torch.cuda.is_available()
    if not has_gpu and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("neither a GPU nor Triton's interpreter")
    return GpuKernels(layers, logits, device_type="cuda" if has_gpu else "cpu")
