"""Runs `test_policy_vllm_inside.py` in the environment that has vLLM: `make .venv-vllm/.ready`, or name an interpreter
in ZERO2R1_VLLM_PYTHON."""

import os
import subprocess
from pathlib import Path

import pytest


def interpreter(root: Path) -> Path | None:
    named = os.environ.get("ZERO2R1_VLLM_PYTHON")
    found = Path(named) if named else root / ".venv-vllm" / "bin" / "python"
    return found if found.exists() else None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_real_vllm(root: Path):
    python = interpreter(root)
    if python is None:
        pytest.skip("no environment with vLLM: make .venv-vllm/.ready")
    # vLLM's own warnings are not ours to heed.
    command = [str(python), "-m", "pytest", "-m", "slow", "-s", "-W", "default", "tests/test_policy_vllm_inside.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1700, check=False)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
