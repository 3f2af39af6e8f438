"""Programming problems about lists of integers.

Each entry reads: name, level, statement in English and in Chinese, arguments, result, parameters, oracle, right body,
one wrong edit, and inputs that random ones rarely hit (`code_templates.py`).
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

from zero2r1.tasks.code_templates import Kind, Template, ints, template


def _parts(count: int, numbers: Sequence[int]) -> int:
    """Every way to cut."""
    cuts = combinations(range(1, len(numbers)), count - 1)
    bounds = ([0, *inner, len(numbers)] for inner in cuts)
    return min(max(sum(numbers[i:j]) for i, j in pairwise(ends)) for ends in bounds)


def _apart(gap: int, numbers: Sequence[int]) -> int:
    if not numbers:
        return 0
    return max(_apart(gap, numbers[1:]), numbers[0] + _apart(gap, numbers[gap:]))


def _rising(step: int, numbers: Sequence[int]) -> int:
    def longest_from(place: int) -> int:
        further = (j for j in range(place + 1, len(numbers)) if numbers[j] - numbers[place] >= step)
        return 1 + max(map(longest_from, further), default=0)

    return max(map(longest_from, range(len(numbers))), default=0)


def _smooth(step: int, numbers: Sequence[int]) -> int:
    stretches = (numbers[i:j] for i in range(len(numbers)) for j in range(i + 1, len(numbers) + 1))
    fitting = [s for s in stretches if all(abs(x - y) <= step for x, y in pairwise(s))]
    return max(map(len, fitting), default=0)


LISTS: tuple[Template, ...] = (
    template(
        "count_divisible", 1, "Count how many of `numbers` are divisible by @a.", "求`numbers`中能被@a整除的数的个数。",
        [ints()], Kind.INT, {"a": range(2, 30)}, lambda a, numbers: [n % a for n in numbers].count(0),
        "return sum(1 for n in numbers if n % @a == 0)", ("== 0", "== 0 and n > 0"), lambda a: [([-a, 0, a],)],
    ),
    template(
        "sum_above", 1, "Add up those of `numbers` that are greater than @a.", "求`numbers`中所有大于@a的数之和。",
        [ints()], Kind.INT, {"a": [n for n in range(-12, 13) if n]}, lambda a, numbers: sum(filter(a.__lt__, numbers)),
        "return sum(n for n in numbers if n > @a)", ("> @a", ">= @a"), lambda a: [([a, a + 1, a - 1],)],
    ),
    template(
        "spread", 1, "Give the largest of `numbers` minus the smallest. For an empty list the result is @a.",
        "求`numbers`中最大数与最小数之差。如果列表为空，结果是@a。", [ints()], Kind.INT, {"a": range(-40, 0)},
        lambda a, numbers: sorted(numbers)[-1] - sorted(numbers)[0] if numbers else a, """
if not numbers:
    return @a
return max(numbers) - min(numbers)""", ("if not numbers:", "if len(numbers) < 2:"), lambda a: [([7],)],
    ),
    template(
        "shifted_mean", 1, "Give the arithmetic mean of `numbers` plus @a, as a decimal number.",
        "求`numbers`的算术平均数，再加上@a，结果为小数。", [ints(shortest=1)], Kind.FLOAT, {"a": range(1, 40)},
        lambda a, numbers: math.fsum(numbers) / len(numbers) + a, "return sum(numbers) / len(numbers) + @a",
        ("/ len", "// len"), lambda a: [([1, 2],)], 1e-6,
    ),
    template(
        "every_kth", 1, "Keep the first of `numbers` and every @a-th one after it.",
        "保留`numbers`的第一个数，以及此后每隔@a个位置的数。", [ints(longest=14)], Kind.INTS, {"a": range(2, 12)},
        lambda a, numbers: [n for i, n in enumerate(numbers) if i % a == 0], "return numbers[::@a]",
        ("[::@a]", "[@a - 1::@a]"),
    ),
    template(
        "second_largest", 2, "Give the second largest value in `numbers`, where equal numbers count once. If there is "
        "none, the result is @a.", "求`numbers`中第二大的值，相同的数只算一次。如果不存在，结果是@a。", [ints()],
        Kind.INT, {"a": range(-100, -50)}, lambda a, numbers: ([a, a, *sorted(set(numbers))][-2:])[0] if len(
            set(numbers)) > 1 else a, """
values = sorted(set(numbers))
return values[-2] if len(values) > 1 else @a""", ("sorted(set(numbers))", "sorted(numbers)"),
        lambda a: [([5, 5, 3],), ([4, 4],)],
    ),
    template(
        "rotate_left", 2, "Move the first number of `numbers` to the end, @a times in a row.",
        "把`numbers`的第一个数移到末尾，连续进行@a次。", [ints()], Kind.INTS, {"a": range(3, 40)},
        lambda a, numbers: [numbers[(i + a) % len(numbers)] for i in range(len(numbers))], """
if not numbers:
    return []
k = @a % len(numbers)
return numbers[k:] + numbers[:k]""", ("@a % len(numbers)", "min(@a, len(numbers))"),
        lambda a: [([*[1, 2, 3][:size], 7, 8, 9, 4],) for size in range(4)] + [([1, 2],)],
    ),
    template(
        "common_divisor", 2, "Give the greatest positive integer that divides @a and all of `numbers`. Every integer "
        "divides 0.", "求能同时整除@a和`numbers`中所有数的最大正整数。任何整数都能整除0。", [ints(low=-60, high=60)],
        Kind.INT, {"a": range(12, 241, 12)}, lambda a, numbers: math.gcd(a, *numbers), """
divisor = @a
for n in numbers:
    while n:
        divisor, n = n, divisor % n
return abs(divisor)""", ("abs(divisor)", "divisor"), lambda a: [([-8],), ([-9, 6],), ([0, 0],)],
    ),
    template(
        "pairs_with_sum", 2, "Count the pairs of different positions in `numbers` whose numbers add up to @a. The "
        "order "
        "of the two positions does not matter.",
        "求`numbers`中有多少对不同的位置，其上两数之和为@a。两个位置不分先后。",
        [ints(low=-9, high=9)], Kind.INT, {"a": range(-16, 17, 2)},
        lambda a, numbers: sum(x + y == a for x, y in combinations(numbers, 2)), """
count = 0
for i in range(len(numbers)):
    for j in range(i + 1, len(numbers)):
        count += numbers[i] + numbers[j] == @a
return count""", ("i + 1", "i"), lambda a: [([a // 2],), ([a // 2, a // 2],)],
    ),
    template(
        "only_in_first", 2, "List the numbers greater than @a that are in `first` but not in `second`, each once, in "
        "increasing order.", "列出在`first`中而不在`second`中、且大于@a的数，每个数只列一次，按从小到大的顺序。",
        [ints("first"), ints("second")], Kind.INTS, {"a": range(-15, 10)},
        lambda a, first, second: sorted({n for n in first if n > a and second.count(n) == 0}),
        "return sorted(n for n in set(first) - set(second) if n > @a)",
        ("set(first) - set(second)", "first"), lambda a: [([a + 1, a + 1, a],  []), ([a + 1, a + 2], [a + 2])],
    ),
    template(
        "smooth_stretch", 3, "Give the length of the longest stretch of consecutive entries of `numbers` in which "
        "neighbours differ by at most @a.", "求`numbers`中最长的一段连续元素的长度，要求相邻两数之差的绝对值不超过@a。",
        [ints(low=-9, high=9)], Kind.INT, {"a": range(1, 13)}, _smooth, """
best = length = 0
for i, n in enumerate(numbers):
    length = length + 1 if i and abs(n - numbers[i - 1]) <= @a else 1
    best = max(best, length)
return best""", ("<= @a", "< @a"), lambda a: [([0, a],), ([0, -a, 0],)],
    ),
    template(
        "best_stretch", 3, "Lower each of `numbers` by @a. Give the largest sum of one or more consecutive entries.",
        "把`numbers`中每个数减去@a，求一个或多个连续元素之和的最大值。", [ints(shortest=1)], Kind.INT,
        {"a": range(-9, 10)}, lambda a, numbers: max(
            sum(numbers[i:j]) - a * (j - i) for i in range(len(numbers)) for j in range(i + 1, len(numbers) + 1)), """
best = current = numbers[0] - (@a)
for n in numbers[1:]:
    current = max(current, 0) + n - (@a)
    best = max(best, current)
return best""", ("best = current = numbers[0] - (@a)", "best = current = max(0, numbers[0] - (@a))"),
        lambda a: [([a - 5],), ([a - 3, a - 2],)],
    ),
    template(
        "next_larger", 3, "For each of `numbers` give the first later number that is larger by at least @a, or -1 if "
        "there is none.", "对`numbers`中每个数，求它后面第一个至少比它大@a的数，没有则为-1。", [ints(low=1, high=30)],
        Kind.INTS, {"a": range(1, 16)}, lambda a, numbers: [
            ([m for m in numbers[i:] if m - n >= a] or [-1])[0] for i, n in enumerate(numbers)], """
found = []
for i, n in enumerate(numbers):
    found.append(next((later for later in numbers[i + 1:] if later >= n + @a), -1))
return found""", ("later >= n + @a", "later > n + @a"), lambda a: [([1, 1 + a],)],
    ),
    template(
        "window_maxima", 3, "Give the maximum of each @a consecutive entries of `numbers`, from left to right.",
        "从左到右，求`numbers`中每@a个连续元素的最大值。", [ints(longest=14)], Kind.INTS, {"a": range(2, 12)},
        lambda a, numbers: [max(numbers[i - a : i]) for i in range(a, len(numbers) + 1)],
        "return [max(numbers[i:i + @a]) for i in range(len(numbers) - @a + 1)]", (" + 1)]", ")]"),
        lambda a: [(list(range(a)),)],
    ),
    template(
        "rising_subsequence", 4, "Delete some of `numbers` (or none) so that each one left exceeds the one before it "
        "by "
        "at least @a. How many can be left at most?",
        "从`numbers`中删去若干个数（可以不删），使剩下的每个数都比前一个数至少大@a。最多能剩下多少个数？", [ints()],
        Kind.INT, {"a": range(1, 16)}, _rising, """
lengths = []
for i, n in enumerate(numbers):
    lengths.append(1 + max((lengths[j] for j in range(i) if n - numbers[j] >= @a), default=0))
return max(lengths, default=0)""", (">= @a", "> @a"), lambda a: [([0, a],), ([2 * a, 0, a],)],
    ),
    template(
        "sum_apart", 4, "Choose some of `numbers`, or none, so that the positions of any two chosen ones differ by at "
        "least @a. What is the largest possible sum?",
        "从`numbers`中选出若干个数（可以不选），使任意两个被选数的位置至少相差@a。和最大是多少？", [ints()], Kind.INT,
        {"a": range(2, 10)}, _apart, """
best = [0] * (len(numbers) + 1)
for i, n in enumerate(numbers):
    best[i + 1] = max(best[i], n + best[max(0, i + 1 - @a)])
return best[-1]""", ("i + 1 - @a", "i + 2 - @a"), lambda a: [([5] + [0] * (a - 2) + [6],), ([5, 6],)],
    ),
    template(
        "large_inversions", 5, "Count the pairs of positions i < j with numbers[i] > numbers[j] + @a.",
        "求`numbers`中满足i<j且numbers[i] > numbers[j] + @a的位置对(i, j)的个数。", [ints(longest=16)], Kind.INT,
        {"a": range(1, 25)}, lambda a, numbers: sum(x - y > a for x, y in combinations(numbers, 2)), """
from bisect import bisect_right, insort
seen, count = [], 0
for n in numbers:
    count += len(seen) - bisect_right(seen, n + @a)
    insort(seen, n)
return count""", ("n + @a", "n + @a - 1"), lambda a: [([a, 0],), ([a + 1, 0],), ([3, 2, 1],)],
    ),
    template(
        "subsets_with_sum", 5, "In how many ways can positions of `numbers` be chosen so that their numbers add up to "
        "@a? The choice of none adds up to 0.", "从`numbers`中选取若干位置，使其上各数之和为@a，有多少种选法？不选时"
        "和为0。",
        [ints(low=-5, high=9)], Kind.INT, {"a": range(-5, 26)}, lambda a, numbers: sum(
            sum(chosen) == a for size in range(len(numbers) + 1) for chosen in combinations(numbers, size)), """
ways = {0: 1}
for n in numbers:
    grown = dict(ways)
    for total, count in ways.items():
        grown[total + n] = grown.get(total + n, 0) + count
    ways = grown
return ways.get(@a, 0)""", ("grown.get(total + n, 0) + count", "count"), lambda a: [([a, a],), ([],), ([1, a - 1, a],)],
    ),
    template(
        "fair_cut", 5, "Cut `numbers` into @a non-empty parts of consecutive entries so that the largest sum of a part "
        "is as small as possible. Give that sum.",
        "把`numbers`分成@a个非空的连续部分，使各部分之和的最大值尽可能小。求这个最小的最大值。",
        [ints(low=0, high=30, shortest=8, longest=12)], Kind.INT, {"a": range(2, 9)}, _parts, """
low, high = max(numbers), sum(numbers)
while low < high:
    limit = (low + high) // 2
    parts, total = 1, 0
    for n in numbers:
        if total + n > limit:
            parts, total = parts + 1, 0
        total += n
    if parts <= @a:
        high = limit
    else:
        low = limit + 1
return low""", ("max(numbers)", "0"), lambda a: [([1, 0, 0, 0, 0, 0, 0, 9],), ([0, 0, 0, 9, 0, 0, 0, 0],)],
    ),
    template(
        "bounded_difference_pairs", 3, "Count the pairs of positions i < j in `numbers` that lie at most @a apart and "
        "hold numbers whose difference is at most @b.",
        "求`numbers`中满足i<j、位置相差不超过@a、且两数之差的绝对值不超过@b的位置对(i, j)的个数。",
        [ints(low=-9, high=9)], Kind.INT, {"a": range(1, 6), "b": range(0, 8)},
        lambda a, b, numbers: sum(
            abs(x - y) <= b for i, x in enumerate(numbers) for y in numbers[i + 1 : i + a + 1]), """
count = 0
for i, n in enumerate(numbers):
    for j in range(max(0, i - @a), i):
        count += abs(n - numbers[j]) <= @b
return count""", ("i - @a", "i - @a + 1"), lambda a, b: [([0] * (a + 1),)],
    ),
)  # fmt: skip
