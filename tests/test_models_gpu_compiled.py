"""The Triton functions compile for an H100. No GPU is needed for that, and the interpreter would not notice."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from zero2r1.models.gpu import layers, logits, pages

def built(function, kinds, warps=8, **constants):
    kinds = iter(kinds.split())
    signature = {name: "constexpr" if name in constants else next(kinds) for name in function.arg_names}
    places = {(function.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=function, signature=signature, constexprs=places, attrs={})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    assert "st.local" not in made.asm["ptx"], function.__name__  # registers enough
    print(function.__name__)

for x, w in (("*fp32", "*fp32"), ("*bf16", "*bf16"), ("*fp32", "*bf16")):
    built(layers._rms_norm, f"{w} {x} {w} {w} fp32", WIDTH=576, COLUMNS=1024, HAS_DELTA=True)
    built(layers._rms_norm_backward, f"{x} *fp32 {w} {x} {w} fp32 i32 i32", WIDTH=1536, COLUMNS=2048)
for w in ("*fp32", "*bf16"):
    built(layers._silu_mul, f"{w} {w} {w} i32", WIDTH=1536, BLOCK=1024)
    built(layers._silu_mul_backward, f"{w} {w} {w} {w} {w} {w} i32", WIDTH=8960, BLOCK=1024)
    for has_norms in (False, True):
        built(layers._rotate, f"{w} *fp32 *fp32 {w} {w} i32 fp32", HEADS=16, KV_HEADS=8, WIDTH=128, ROWS=32,
              COLUMNS=64, NORMS_QUERIES=has_norms, NORMS_KEYS=has_norms)
    built(logits._read, f"*fp32 *fp32 *fp32 {w} *fp32 *i64 fp32 i32", HAS_SLOPE=True, BLOCK=4096)
    built(logits._sum_blocks, f"*fp32 *fp64 {w} i32 fp32 i32 i32", BLOCK=4096)
    built(logits._draw, f"*i64 *fp32 *fp32 *fp64 {w} *fp64 i32 fp32 i32 i32", BLOCKS=64, BLOCK=4096)
    kinds = f"*fp32 *fp32 *fp32 {' '.join([w] * 5)} *i32 *i64 i32 i32 i32 i32 fp32"
    for heads, shared, width in ((3, 3, 64), (2, 6, 128)):
        built(pages._attend_parts, kinds, warps=4, KV_HEADS=heads, SHARED=shared, ROWS=16, WIDTH=width, WIDTH_V=width,
              COLUMNS=width, COLUMNS_V=width, PARTS=4, PAGE=16, BLOCK=64)
    built(pages._join_parts, f"{w} *fp32 *fp32 *fp32", warps=1, WIDTH_V=128, COLUMNS_V=128, PARTS=4)
"""


def test_every_function_compiles_for_an_h100(root, tmp_path):
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    script = tmp_path / "compiling.py"  # Triton wants its functions in files
    script.write_text(SCRIPT, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], cwd=root, env=environment | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(set(result.stdout.split())) == 10
