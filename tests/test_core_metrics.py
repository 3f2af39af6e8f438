"""Logs survive torn lines and non-finite numbers; intervals are the ones computed by hand."""

import json
import math
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.errors import RunError
from zero2r1.core.metrics import MetricsLog, mean_ci, read, wilson


def test_a_row_is_one_line_of_json_with_sorted_keys(tmp_path):
    log = MetricsLog(tmp_path / "new" / "metrics.jsonl")
    log.append({"step": 1, "reward/mean": 0.5, "note": "中"})
    assert log.path.read_text("utf-8") == '{"note": "中", "reward/mean": 0.5, "schema_version": 1, "step": 1}\n'
    assert log.read() == [{"note": "中", "reward/mean": 0.5, "schema_version": 1, "step": 1}]


def test_the_same_rows_make_the_same_bytes(tmp_path):
    first, second = MetricsLog(tmp_path / "a"), MetricsLog(tmp_path / "b")
    first.append({"step": 1, "loss": 0.1})
    second.append({"loss": 0.1, "step": 1})
    assert first.path.read_bytes() == second.path.read_bytes()


def test_non_finite_numbers_become_null_and_are_named(tmp_path):
    log = MetricsLog(tmp_path / "m")
    log.append({"step": 3, "loss": math.nan, "grad_norm": math.inf, "lr": 1e-6})
    (row,) = log.read()
    assert row["loss"] is None
    assert row["grad_norm"] is None
    assert row["nonfinite"] == ["grad_norm", "loss"]
    assert "NaN" not in log.path.read_text("utf-8")


def test_a_row_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), real(descriptor)))
    MetricsLog(tmp_path / "m").append({"step": 1})
    assert synced == [(tmp_path / "m").stat().st_size]


def test_a_torn_last_line_is_left_out_and_cut_off_before_the_next_row(tmp_path):
    log = MetricsLog(tmp_path / "m")
    log.append({"step": 1})
    with log.path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    assert [row["step"] for row in log.read()] == [1]
    log.append({"step": 2})
    assert [row["step"] for row in log.read()] == [1, 2]


def test_a_log_that_is_one_torn_line_starts_anew(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b'{"st')
    assert read(path) == []
    MetricsLog(path).append({"step": 1})
    assert [row["step"] for row in read(path)] == [1]


@pytest.mark.parametrize("bad", [b"{", b"[1]", b"\xff", b""])
def test_a_damaged_line_inside_is_an_error_with_its_number(tmp_path, bad):
    path = tmp_path / "m"
    path.write_bytes(b'{"step": 1}\n' + bad + b'\n{"step": 2}\n')
    with pytest.raises(RunError, match=r"Z410 a line is no JSON object   .*m:2"):
        read(path)


def test_no_file_has_no_rows(tmp_path):
    assert MetricsLog(tmp_path / "m").read() == []
    MetricsLog(tmp_path / "m").truncate_after(3)
    assert not (tmp_path / "m").exists()


def test_truncation_drops_later_steps_and_keeps_the_bytes_of_the_rest(tmp_path):
    log = MetricsLog(tmp_path / "m")
    for step in range(1, 6):
        log.append({"step": step, "loss": 0.1 * step})
    log.append({"note": "a row without a step"})
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.truncate_after(3)
    assert log.path.read_bytes() == b"".join([*lines[:3], lines[5]])


def test_a_resumed_log_equals_one_that_was_never_stopped(tmp_path):
    straight, resumed = MetricsLog(tmp_path / "a"), MetricsLog(tmp_path / "b")
    for step in range(1, 6):
        straight.append({"step": step, "loss": 1 / step})
    for step in range(1, 5):  # the checkpoint was of step 2; steps 3 and 4 are lost and done again
        resumed.append({"step": step, "loss": 1 / step})
    resumed.truncate_after(2)
    for step in range(3, 6):
        resumed.append({"step": step, "loss": 1 / step})
    assert straight.path.read_bytes() == resumed.path.read_bytes()


def test_truncation_never_leaves_a_half_file(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path / "m")
    log.append({"step": 1})
    log.append({"step": 2})
    before = log.path.read_bytes()

    def crash(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        log.truncate_after(1)
    assert log.path.read_bytes() == before


def test_a_log_is_a_plain_readable_file(tmp_path):
    log = MetricsLog(tmp_path / "m")
    log.append({"step": 1})
    assert stat.S_IMODE(log.path.stat().st_mode) & 0o444 == 0o444


@given(st.dictionaries(st.text(max_size=5), st.floats() | st.integers() | st.text(max_size=5) | st.none(), max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_row_is_one_line_of_strict_json(tmp_path_factory, row):
    path = tmp_path_factory.mktemp("log") / "m"
    MetricsLog(path).append(row)
    (line,) = path.read_text("utf-8").splitlines() if "\x85" not in str(row) else [path.read_text("utf-8")]
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_mean_and_interval_by_hand():
    # 0, 0, 1, 1: mean 1/2; s^2 = 4 * 1/4 / 3 = 1/3; half = 1.959964 * sqrt(1/3 / 4) = 1.959964 * 0.288675 = 0.565793.
    mean, half = mean_ci([0, 0, 1, 1])
    assert mean == 0.5
    assert math.isclose(half, 0.565793, abs_tol=1e-6)


def test_equal_values_have_no_width_and_one_value_has_all_of_it():
    assert mean_ci([0.25, 0.25, 0.25]) == (0.25, 0.0)
    assert mean_ci([0.25]) == (0.25, math.inf)
    assert all(math.isnan(part) for part in mean_ci([]))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_an_interval_moves_with_its_values(values, shift):
    mean, half = mean_ci(values)
    moved_mean, moved_half = mean_ci([value + shift for value in values])
    assert math.isclose(moved_mean, mean + shift, abs_tol=1e-9)
    assert math.isclose(moved_half, half, abs_tol=1e-6)


def test_wilson_by_hand():
    # 0 of 10: low 0, high = z^2/n / (1 + z^2/n) = 0.384146 / 1.384146 = 0.277533   (z^2 = 3.841459).
    low, high = wilson(0, 10)
    assert low == 0.0
    assert math.isclose(high, 0.277533, abs_tol=1e-6)
    # 8 of 10: middle 0.8 + 0.192073 = 0.992073; half = 1.959964 * sqrt(0.016 + 0.0096036) = 0.313618;
    # (0.992073 -+ 0.313618) / 1.384146 = 0.490162, 0.943318.
    low, high = wilson(8, 10)
    assert math.isclose(low, 0.490162, abs_tol=1e-5)
    assert math.isclose(high, 0.943318, abs_tol=1e-5)


@given(st.integers(0, 50), st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_wilson_holds_the_share_and_is_symmetric(successes, failures):
    n = successes + failures
    low, high = wilson(successes, n)
    assert 0.0 <= low <= high <= 1.0
    if n:
        assert low - 1e-12 <= successes / n <= high + 1e-12
    mirrored = wilson(failures, n)
    assert math.isclose(low, 1 - mirrored[1], abs_tol=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_wilson_of_impossible_counts_is_an_error(successes, n):
    with pytest.raises(ValueError, match="successes of"):
        wilson(successes, n)
