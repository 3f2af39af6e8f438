"""Projects with one mistake, level 5: graphs, intervals, and order of use.

Each entry reads: name, level, issue in English and in Chinese, files, right correction, wrong correction, hidden unit
tests, parameters (`code_repair.py`).
"""

from zero2r1.tasks.code_repair import RepairTemplate, repair

THIRD_REPAIRS: tuple[RepairTemplate, ...] = (
    repair(
        "false_cycle", 5, "A plan in which two jobs need the same third one is refused as a cycle; a job that needs "
        "itself "
        "must be refused. Jobs are numbered from @a.",
        "当两项任务都依赖同一项任务时，计划会被误判为有环；依赖自身的任务才应该被拒绝。任务编号从@a开始。",
        {"plan/visit.py": """
def order(needs):
    done, seen = [], set()

    def visit(job):
        if job in seen:
            raise ValueError("cycle")
        seen.add(job)
        for other in needs.get(job, []):
            visit(other)
        done.append(job)

    for job in sorted(needs):
        if job not in done:
            visit(job)
    return done
""", "plan/make.py": """
from plan.visit import order


def make_plan(pairs):
    needs = {}
    for job, other in pairs:
        needs.setdefault(job + @a, []).append(other + @a)
    try:
        return order(needs)
    except ValueError:
        return []
"""},
        [("plan/visit.py", "        if job in seen:", "        if job in done:\n            return\n        if job "
        "in seen:")],
        [("plan/visit.py", '            raise ValueError("cycle")', "            return")],
        """
from plan.make import make_plan


def test_chain():
    assert make_plan([(1, 2), (2, 3)]) == [@a + 3, @a + 2, @a + 1]


def test_shared_need():
    assert make_plan([(1, 3), (2, 3)]) == [@a + 3, @a + 1, @a + 2]
    assert make_plan([(1, 2), (1, 3), (2, 4), (3, 4)]) == [@a + 4, @a + 2, @a + 3, @a + 1]


def test_cycle():
    assert make_plan([(1, 2), (2, 1)]) == []
    assert make_plan([(1, 1)]) == []
""", {"a": range(0, 60)},
    ),
    repair(
        "free_time", 5, "A day has @a hours. Free times are wrong when one meeting lies inside another, and meetings "
        "that "
        "touch leave a free time of length zero.",
        "一天有@a小时。当一个会议完全在另一个会议之内时，空闲时间是错的；首尾相接的会议之间会出现长度为零的空闲时间。",
        {"schedule/merge.py": """
def merged(meetings):
    found = []
    for start, end in sorted(meetings):
        if found and start < found[-1][1]:
            found[-1] = [found[-1][0], end]
        else:
            found.append([start, end])
    return found
""", "schedule/free.py": """
from schedule.merge import merged


def free(meetings):
    times, last = [], 0
    for start, end in merged(meetings):
        if start > last or last:
            times.append([last, start])
        last = end
    return times + ([[last, @a]] if last < @a else [])
"""},
        [("schedule/merge.py", "start < found[-1][1]", "start <= found[-1][1]"),
         ("schedule/merge.py", "[found[-1][0], end]", "[found[-1][0], max(end, found[-1][1])]")],
        [("schedule/merge.py", "[found[-1][0], end]", "[found[-1][0], max(end, found[-1][1])]")],
        """
from schedule.free import free
from schedule.merge import merged


def test_inside():
    assert merged([[1, 8], [2, 3]]) == [[1, 8]]
    assert free([[1, 8], [2, 3]]) == [[0, 1], [8, @a]]


def test_touching():
    assert merged([[4, 5], [1, 4]]) == [[1, 5]]
    assert free([[0, 2], [2, 4]]) == [[4, @a]]


def test_apart():
    assert free([[0, 1], [3, @a]]) == [[1, 3]]
    assert free([]) == [[0, @a]]
""", {"a": range(9, 60)},
    ),
    repair(
        "recently_used", 5, "A store of @a values should drop the value that was not used for longest. It drops the "
        "one "
        "that was stored first, even when it has just been read or stored again.",
        "容量为@a的存储应该丢弃最久未使用的值，但它丢弃的是最早存入的值，即使这个值刚刚被读取或重新存入。",
        {"store/memory.py": """
def put(memory, name, value):
    memory[name] = value
    if len(memory) > @a:
        del memory[next(iter(memory))]


def get(memory, name):
    return memory.get(name, -1)
""", "store/replay.py": """
from store.memory import get, put


def replay(commands):
    memory, answers = {}, []
    for command in commands:
        if len(command) == 2:
            put(memory, command[0], command[1])
        else:
            answers.append(get(memory, command[0]))
    return answers
"""},
        [("store/memory.py", "    memory[name] = value", "    memory.pop(name, None)\n    memory[name] = value"),
         ("store/memory.py", "    return memory.get(name, -1)",
          "    if name not in memory:\n        return -1\n"
          "    memory[name] = memory.pop(name)\n    return memory[name]")],
        [("store/memory.py", "    return memory.get(name, -1)",
          "    if name not in memory:\n        return -1\n"
          "    memory[name] = memory.pop(name)\n    return memory[name]")],
        """
from store.replay import replay

FULL = [[str(i), i] for i in range(@a)]


def test_oldest_goes():
    assert replay([*FULL, ["new", 9], ["0"], ["1"]]) == [-1, 1]


def test_read_stays():
    assert replay([*FULL, ["0"], ["new", 9], ["0"], ["1"]]) == [0, 0, -1]


def test_stored_again_stays():
    assert replay([*FULL, ["0", 5], ["new", 9], ["0"], ["1"]]) == [5, -1]
""", {"a": range(2, 50)},
    ),
)  # fmt: skip
