"""Projects with one mistake, levels 1 and 2: wrong comparison, wrong rounding, shared state.

Each entry reads: name, level, issue in English and in Chinese, files, right correction, wrong correction, hidden unit
tests, parameters (`code_repair.py`).
"""

from zero2r1.tasks.code_repair import RepairTemplate, repair

FIRST_REPAIRS: tuple[RepairTemplate, ...] = (
    repair(
        "discount_limit", 1,
        "An order of exactly @a coins should already get the discount of 10 coins, but pays the full price.",
        "恰好@a元的订单就应该享受减10元的优惠，但现在付的是全价。",
        {"shop/prices.py": """
def total(prices):
    return sum(prices)


def reduced(amount):
    if amount > @a:
        return amount - 10
    return amount
""", "shop/cart.py": """
from shop.prices import reduced, total


def to_pay(prices):
    return reduced(total(prices))
"""},
        [("shop/prices.py", "amount > @a", "amount >= @a")], [("shop/prices.py", "amount > @a", "amount == @a")],
        """
from shop.cart import to_pay


def test_below_the_limit():
    assert to_pay([@a - 1]) == @a - 1


def test_at_the_limit():
    assert to_pay([@a - 5, 5]) == @a - 10


def test_above_the_limit():
    assert to_pay([@a, 7]) == @a - 3
""", {"a": range(30, 95)},
    ),
    repair(
        "initials", 1, "Initials of names with two spaces in a row end in an IndexError. They are meant to be joined "
        "by "
        "'@s'.", "姓名中有两个连续空格时，取首字母会出现IndexError。首字母应该用'@s'连接。",
        {"people/names.py": """
def parts(name):
    return name.split(" ")
""", "people/badge.py": """
from people.names import parts


def initials(name):
    return "@s".join(part[0].upper() for part in parts(name))
"""},
        [("people/names.py", 'split(" ")', "split()")],
        [("people/names.py", 'return name.split(" ")', 'return name.replace("  ", " ").split(" ")')],
        """
from people.badge import initials


def test_one_space():
    assert initials("ada lovelace") == "A@sL"


def test_many_spaces():
    assert initials("ada   m  lovelace") == "A@sM@sL"


def test_space_at_the_ends():
    assert initials(" ada ") == "A"
""", {"s": ".-_/:+*~|;=,!^"},
    ),
    repair(
        "page_count", 1, "With @a entries a page, the last page is missing when it is not full.",
        "每页@a条记录时，如果最后一页不满，这一页就不见了。",
        {"paging/count.py": """
PAGE = @a


def num_pages(entries):
    return entries // PAGE
""", "paging/show.py": """
from paging.count import PAGE, num_pages


def pages(entries):
    return [entries[i * PAGE:(i + 1) * PAGE] for i in range(num_pages(len(entries)))]
"""},
        [("paging/count.py", "entries // PAGE", "-(-entries // PAGE)")],
        [("paging/count.py", "entries // PAGE", "entries // PAGE + 1")],
        """
from paging.count import num_pages
from paging.show import pages


def test_full_pages():
    assert num_pages(2 * @a) == 2
    assert num_pages(0) == 0


def test_last_page():
    assert num_pages(@a + 1) == 2
    assert pages(list(range(@a + 1)))[-1] == [@a]


def test_no_entries():
    assert pages([]) == []
""", {"a": range(3, 40)},
    ),
    repair(
        "shared_list", 2, "Reports get longer with each call: entries of earlier reports appear again. A report lists "
        "each value once, at most @a of them.",
        "每次调用后报告都会变长：之前报告的内容又出现了。报告中每个值只列一次，最多@a个。",
        {"logbook/collect.py": """
def collect(values, found=[]):
    for value in values:
        if value not in found:
            found.append(value)
    return found
""", "logbook/report.py": """
from logbook.collect import collect


def report(values):
    return collect(values)[:@a]
"""},
        [("logbook/collect.py", "found=[]):", "found=None):\n    found = [] if found is None else found")],
        [("logbook/collect.py", "return found", "return list(found)")],
        """
from logbook.collect import collect
from logbook.report import report


def test_calls_are_independent():
    assert report([1, 2, 2]) == [1, 2]
    assert report([3]) == [3]
    assert report([]) == []


def test_a_given_list_grows():
    assert collect([2, 3], [1]) == [1, 2, 3]


def test_the_limit():
    assert report(list(range(@a + 2))) == list(range(@a))
""", {"a": range(2, 40)},
    ),
    repair(
        "leap_years", 2, "The number of days since the start of the year @a is one too large after 2100: that year "
        "counts "
        "as a leap year.", "从@a年初开始计算的天数在2100年之后多了一天：2100年被当成了闰年。",
        {"almanac/leap.py": """
def is_leap(year):
    return year % 4 == 0
""", "almanac/days.py": """
from almanac.leap import is_leap


def days_until(year):
    return sum(366 if is_leap(each) else 365 for each in range(@a, year))
"""},
        [("almanac/leap.py", "year % 4 == 0", "year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)")],
        [("almanac/leap.py", "year % 4 == 0", "year % 4 == 0 and year % 100 != 0")],
        """
from almanac.days import days_until
from almanac.leap import is_leap


def test_century():
    assert not is_leap(2100)
    assert not is_leap(1900)


def test_fourth_century():
    assert is_leap(2000)
    assert is_leap(2400)


def test_days():
    assert days_until(@a) == 0
    assert days_until(2101) - days_until(2100) == 365
    assert days_until(2001) - days_until(2000) == 366
""", {"a": range(1900, 1990)},
    ),
    repair(
        "board_rows", 2, "Marking one field of a board of @a columns marks that column in all rows.",
        "棋盘有@a列，标记一个格子时，所有行的这一列都被标记了。",
        {"board/make.py": """
WIDTH = @a


def empty(rows):
    return [[0] * WIDTH] * rows
""", "board/mark.py": """
from board.make import empty


def marked(rows, places):
    board = empty(rows)
    for row, column in places:
        board[row][column] = 1
    return board


def num_marked(rows, places):
    return sum(map(sum, marked(rows, places)))
"""},
        [("board/make.py", "[[0] * WIDTH] * rows", "[[0] * WIDTH for _ in range(rows)]")],
        [("board/make.py", "[[0] * WIDTH] * rows", "[[0] * rows for _ in range(WIDTH)]")],
        """
from board.make import empty
from board.mark import marked, num_marked


def test_size():
    assert empty(2) == [[0] * @a, [0] * @a]


def test_one_field():
    assert marked(3, [(1, 0)]) == [[0] * @a, [1] + [0] * (@a - 1), [0] * @a]


def test_count():
    assert num_marked(4, [(0, 0), (3, 1)]) == 2
""", {"a": range(5, 40)},
    ),
    repair(
        "cut_words", 1, "A title of exactly @a letters is shortened although it fits.",
        "恰好@a个字母的标题本来放得下，却被截短了。",
        {"titles/fit.py": """
LIMIT = @a


def fits(title):
    return len(title) < LIMIT
""", "titles/short.py": """
from titles.fit import LIMIT, fits


def shortened(title):
    return title if fits(title) else title[:LIMIT - 1] + "."
"""},
        [("titles/fit.py", "< LIMIT", "<= LIMIT")], [("titles/fit.py", "< LIMIT", "<= LIMIT + 1")],
        """
from titles.short import shortened


def test_short():
    assert shortened("x" * (@a - 1)) == "x" * (@a - 1)


def test_exact():
    assert shortened("x" * @a) == "x" * @a


def test_long():
    assert shortened("x" * (@a + 1)) == "x" * (@a - 1) + "."
""", {"a": range(5, 60)},
    ),
)  # fmt: skip
