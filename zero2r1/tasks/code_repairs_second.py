"""Projects with one mistake, levels 3 and 4: remembered state, units, parsing, and mistakes in two files at once.

Each entry reads: name, level, issue in English and in Chinese, files, right correction, wrong correction, hidden unit
tests, parameters (`code_repair.py`).
"""

from zero2r1.tasks.code_repair import RepairTemplate, repair

SECOND_REPAIRS: tuple[RepairTemplate, ...] = (
    repair(
        "remembered_rate", 3, "Converting into a second currency gives the price in the first one again. The base rate "
        "is @a.", "换算成第二种货币时，得到的仍是第一种货币的价格。基准汇率是@a。",
        {"rates/table.py": """
def rate(currency):
    return @a + len(currency)
""", "rates/convert.py": """
from rates.table import rate

known = {}


def convert(amount, currency):
    if amount not in known:
        known[amount] = amount * rate(currency)
    return known[amount]
"""},
        [("rates/convert.py", "if amount not in known", "if (amount, currency) not in known"),
         ("rates/convert.py", "known[amount]", "known[amount, currency]")],
        [("rates/convert.py", "if amount not in known", "if currency not in known"),
         ("rates/convert.py", "known[amount]", "known[currency]")],
        """
from rates.convert import convert


def test_two_currencies():
    assert convert(2, "ab") == 2 * (@a + 2)
    assert convert(2, "abc") == 2 * (@a + 3)


def test_two_amounts():
    assert convert(5, "ab") == 5 * (@a + 2)
    assert convert(7, "ab") == 7 * (@a + 2)
""", {"a": range(2, 60)},
    ),
    repair(
        "removed_jobs", 3, "Cleaning a list of jobs leaves some jobs shorter than @a minutes behind, and it changes "
        "the "
        "list of the caller.", "清理任务列表后，仍有一些短于@a分钟的任务留下来，而且调用者的列表被改动了。",
        {"jobs/rules.py": """
def is_short(minutes):
    return minutes < @a
""", "jobs/clean.py": """
from jobs.rules import is_short


def cleaned(jobs):
    for minutes in jobs:
        if is_short(minutes):
            jobs.remove(minutes)
    return jobs
""", "jobs/load.py": """
from jobs.clean import cleaned


def load_before_and_after(jobs):
    after = cleaned(jobs)
    return [sum(jobs), sum(after)]
"""},
        [("jobs/clean.py", """    for minutes in jobs:
        if is_short(minutes):
            jobs.remove(minutes)
    return jobs""", "    return [minutes for minutes in jobs if not is_short(minutes)]")],
        [("jobs/clean.py", "for minutes in jobs:", "for minutes in list(jobs):")],
        """
from jobs.clean import cleaned
from jobs.load import load_before_and_after


def test_neighbours():
    assert cleaned([1, 2, @a, 1, 1]) == [@a]


def test_nothing_to_do():
    assert cleaned([@a, @a + 1]) == [@a, @a + 1]


def test_the_list_of_the_caller():
    assert load_before_and_after([1, @a, 2]) == [@a + 3, @a]
""", {"a": range(5, 60)},
    ),
    repair(
        "two_units", 3, "One rod is @a feet. Lengths in feet come out too small, and so do areas in square feet.",
        "1竿等于@a英尺。换算成英尺的长度偏小，换算成平方英尺的面积也偏小。",
        {"units/length.py": """
FEET = @a


def feet(rods):
    return rods / FEET
""", "units/area.py": """
from units.length import FEET


def square_feet(square_rods):
    return square_rods * FEET
"""},
        [("units/length.py", "rods / FEET", "rods * FEET"),
         ("units/area.py", "square_rods * FEET", "square_rods * FEET * FEET")],
        [("units/length.py", "rods / FEET", "rods * FEET")],
        """
from units.area import square_feet
from units.length import feet


def test_length():
    assert feet(3) == 3 * @a
    assert feet(0) == 0


def test_area():
    assert square_feet(2) == 2 * @a * @a
""", {"a": range(2, 60)},
    ),
    repair(
        "last_entry", 4, "Looking up a number finds all entries of the index but the last one, and a missing number "
        "beyond the end should give -@a.", "查找数字时，除了最后一项之外都能找到；而找不到的数字应该得到-@a。",
        {"search/halves.py": """
def first_at_least(numbers, wanted):
    low, high = 0, len(numbers) - 1
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
""", "search/lookup.py": """
from search.halves import first_at_least


def place_of(numbers, wanted):
    place = first_at_least(numbers, wanted)
    if place < len(numbers) - 1 and numbers[place] == wanted:
        return place
    return -@a
"""},
        [("search/halves.py", "len(numbers) - 1", "len(numbers)"),
         ("search/lookup.py", "place < len(numbers) - 1", "place < len(numbers)")],
        [("search/lookup.py", "place < len(numbers) - 1", "place < len(numbers)")],
        """
from search.halves import first_at_least
from search.lookup import place_of


def test_every_entry():
    numbers = [2, 3, 5, 8, 13]
    assert [place_of(numbers, n) for n in numbers] == [0, 1, 2, 3, 4]


def test_missing():
    assert [place_of([2, 5], n) for n in (1, 3, 9)] == [-@a, -@a, -@a]
    assert place_of([], 1) == -@a


def test_beyond_the_end():
    assert first_at_least([1, 2, 3], 9) == 3
""", {"a": range(1, 60)},
    ),
    repair(
        "quoted_fields", 4, "Fields in double quotes that hold a '@s' are cut in two, so the totals of the second "
        "column "
        "are wrong.", "双引号中的字段如果含有'@s'就会被切成两段，因此第二列的合计是错的。",
        {"table/parse.py": """
def fields(line):
    return [field.strip('"') for field in line.split("@s")]
""", "table/total.py": """
from table.parse import fields


def total(lines):
    return sum(int(fields(line)[1]) for line in lines)
"""},
        [("table/parse.py", """    return [field.strip('"') for field in line.split("@s")]""",
        """    found, is_quoted = [""], False
    for character in line:
        if character == '"':
            is_quoted = not is_quoted
        elif character == "@s" and not is_quoted:
            found.append("")
        else:
            found[-1] += character
    return found""")],
        [("table/parse.py", 'line.split("@s")', 'line.rsplit("@s", 1)')],
        """
from table.parse import fields
from table.total import total


def test_plain():
    assert fields("a@sb@s") == ["a", "b", ""]


def test_quoted():
    assert fields('"a@sb"@s7@s"c"') == ["a@sb", "7", "c"]


def test_total():
    assert total(['x@s3', '"y@sz"@s4']) == 7
""", {"s": ",;|:/+*~!^&$%<>="},
    ),
    repair(
        "lost_coins", 4, "A bill of n coins split among @a friends does not add up to n again. Shares may differ by "
        "one "
        "coin, larger ones first.", "@a个朋友分摊n元的账单，各人的份额加起来不等于n。份额可以相差1元，大的在前。",
        {"bill/split.py": """
def shares(coins, people):
    return [coins // people] * people
""", "bill/friends.py": """
from bill.split import shares


def for_friends(coins):
    return shares(coins, @a)


def is_fair(coins):
    return sum(for_friends(coins)) == coins
"""},
        [("bill/split.py", "[coins // people] * people",
          "[coins // people + (1 if i < coins % people else 0) for i in range(people)]")],
        [("bill/split.py", "[coins // people] * people",
          "[coins // people + coins % people] + [coins // people] * (people - 1)")],
        """
from bill.friends import for_friends, is_fair
from bill.split import shares


def test_even():
    assert shares(12, 4) == [3, 3, 3, 3]


def test_rest():
    assert shares(11, 4) == [3, 3, 3, 2]
    assert shares(1, 3) == [1, 0, 0]


def test_friends():
    assert is_fair(5 * @a + 2)
    assert for_friends(@a + 2) == [2, 2] + [1] * (@a - 2)
""", {"a": range(3, 50)},
    ),
)  # fmt: skip
