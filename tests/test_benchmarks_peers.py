"""Peers of the benchmarks: asked line by line, idle while others work, ended with everything they started."""

import os
import sys
import time

import pytest
from benchmarks_world import scripts

ECHO = """
import sys
sys.path.insert(0, {peers!r})
from protocol import Line

line = Line()
print("chatter of a library")
settings = line.receive()
line.send({{"ready": settings["name"]}})
while (request := line.receive()) is not None:
    if request.get("raises"):
        raise ValueError("no such thing")
    if request.get("computes"):
        sum(i * i for i in range(3_000_000))
    line.send({{"twice": 2 * request["number"]}})
"""


@pytest.fixture(scope="module")
def client(root):
    with scripts(root, "peers.client") as [module]:
        yield module


@pytest.fixture
def command(root, tmp_path):
    script = tmp_path / "echo.py"
    script.write_text(ECHO.format(peers=str(root / "benchmarks" / "peers")))
    return [sys.executable, script]


def test_answers_come_back_and_chatter_does_not(client, command):
    with client.Peer(command, settings={"name": "é"}) as peer:
        assert peer.about == {"ready": "é"}
        assert [peer.ask({"number": i})["twice"] for i in (1, 20)] == [2, 40]


def test_a_peer_that_fails_says_why(client, command):
    with (
        client.Peer(command, settings={"name": ""}) as peer,
        pytest.raises(RuntimeError, match=r"code 1[\s\S]*no such thing"),
    ):
        peer.ask({"raises": True})


def test_a_peer_that_cannot_start_says_why(client):
    with pytest.raises(RuntimeError, match="nowhere"):
        client.Peer([sys.executable, "-c", "import nowhere"], settings={})


def test_a_peer_that_hangs_is_ended_with_its_children(client, tmp_path):
    note = tmp_path / "pid"
    hangs = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    began = time.perf_counter()
    with pytest.raises(RuntimeError, match="code -9"):
        client.Peer([sys.executable, "-c", hangs], settings={}, limit_s=2.0)
    assert time.perf_counter() - began < 15
    child = int(note.read_text())
    for _ in range(100):
        if not is_running(child):
            break
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_processor_time_of_a_peer_is_counted(client, command):
    with client.Peer(command, settings={"name": ""}) as peer:
        peer.ask({"number": 1})
        before = peer.cpu_s()
        time.sleep(0.1)
        assert peer.cpu_s() - before <= 0.03  # two ticks at most: it only waits
        peer.ask({"number": 1, "computes": True})
        assert peer.cpu_s() - before >= 0.05


def test_sides_take_turns_in_an_order_that_reverses(client):
    order: list[tuple[str, int]] = []

    def side(name: str) -> object:
        def turn(i: int) -> dict[str, int]:
            order.append((name, i))
            return {"number": i}

        return client.Side(turn=turn)

    rounds = client.alternate({name: side(name) for name in "ab"}, pairs=2)
    assert order == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert rounds.turns == {"a": [{"number": 0}, {"number": 1}], "b": [{"number": 0}, {"number": 1}]}


def test_a_side_that_works_out_of_turn_is_seen(client):
    """Its clock runs 0.5 s for each second of the other's turns; those of the other stand still."""
    clock = {"busy": 0.0}

    def wait(_: int) -> dict[str, int]:
        began = time.perf_counter()
        time.sleep(0.05)
        clock["busy"] += 0.5 * (time.perf_counter() - began)
        return {}

    sides = {
        "calm": client.Side(turn=wait, cpu_s=lambda: 0.0),
        "busy": client.Side(turn=lambda _: time.sleep(0.05) or {}, cpu_s=lambda: clock["busy"]),
    }
    rounds = client.alternate(sides, pairs=2)
    assert rounds.idle_share["calm"] == 0.0
    assert rounds.idle_share["busy"] == pytest.approx(0.5, abs=0.05)


def test_an_interpreter_is_an_option_a_variable_a_default_or_absent(client, tmp_path, monkeypatch):
    def found(option=None, default="no/such/python"):
        return client.interpreter(option, variable="ZERO2R1_TOY_PYTHON", default=default)

    monkeypatch.delenv("ZERO2R1_TOY_PYTHON", raising=False)
    assert found() is None
    link, other = tmp_path / "python", tmp_path / "other"
    link.symlink_to(sys.executable)  # as in a virtual environment: the link is what counts, not its target
    other.touch()
    monkeypatch.setenv("ZERO2R1_TOY_PYTHON", str(other))
    assert found() == other
    assert found(str(link)) == link
    assert found(str(tmp_path / "gone")) is None
    monkeypatch.delenv("ZERO2R1_TOY_PYTHON")
    assert found(default=os.path.relpath(other, client.ROOT)) is not None
