"""Programming problems about grids, pairs, graphs and choices under a limit.

Each entry reads: name, level, statement in English and in Chinese, arguments, result, parameters, oracle, right body,
one wrong edit, and inputs that random ones rarely hit (`code_templates.py`).
"""

from collections.abc import Sequence
from itertools import permutations

from zero2r1.tasks.code_templates import Kind, Template, grid, num, template

Rows = Sequence[Sequence[int]]


def _regions(least: int, rows: Rows) -> int:
    """Every open cell takes the smallest label around it until nothing changes."""
    label = {(i, j): (i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell >= least}
    for _ in range(len(label)):
        for i, j in label:
            beside = ((i, j), (i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
            label[i, j] = min(label[place] for place in beside if place in label)
    return len(set(label.values()))


def _reach(limit: int, rows: Rows) -> int:
    """Moves from corner to corner: the cells reachable in k moves, for k = 0, 1, ..."""
    height, width = len(rows), len(rows[0])
    free = {(i, j) for i in range(height) for j in range(width) if rows[i][j] < limit}
    reached, moves = {(0, 0)} & free, 0
    while reached and (height - 1, width - 1) not in reached:
        around = {(i + di, j + dj) for i, j in reached for di, dj in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))} & free
        if around == reached:
            return -1
        reached, moves = around, moves + 1
    return moves if reached else -1


def _routes(limit: int, rows: Rows, i: int = 0, j: int = 0) -> int:
    if i == len(rows) or j == len(rows[0]) or rows[i][j] >= limit:
        return 0
    if (i, j) == (len(rows) - 1, len(rows[0]) - 1):
        return 1
    return _routes(limit, rows, i + 1, j) + _routes(limit, rows, i, j + 1)


def _square(least: int, rows: Rows) -> int:
    height, width = len(rows), len(rows[0])

    def fits(i: int, j: int, side: int) -> bool:
        return all(cell >= least for row in rows[i : i + side] for cell in row[j : j + side])

    sides = range(min(height, width), 0, -1)
    return next((s for s in sides for i in range(height - s + 1) for j in range(width - s + 1) if fits(i, j, s)), 0)


def _pack(capacity: int, items: Rows) -> int:
    choices = [(0, 0)]
    for weight, value in items:
        choices += [(w + weight, v + value) for w, v in choices if w + weight <= capacity]
    return max(v for _, v in choices)


def _order(nodes: int, pairs: Rows) -> list[int]:
    """Of all orders, in their own order, the first that fits."""
    for order in permutations(range(nodes)):
        place = {node: i for i, node in enumerate(order)}
        if all(place[x] < place[y] for x, y in pairs):
            return list(order)
    return []


def _cheapest(target: int, roads: Rows) -> int:
    """Bellman-Ford over nodes 0 to 6."""
    far = 10**9
    cost = [0] + [far] * 6
    for _ in range(7):
        for start, end, price in roads:
            cost[end] = min(cost[end], cost[start] + price)
    return cost[target] if cost[target] < far else -1


def _turned(times: int, rows: Rows) -> list[list[int]]:
    turned = [list(row) for row in rows]
    for _ in range(times % 4):
        height, width = len(turned), len(turned[0])
        turned = [[turned[height - 1 - j][i] for j in range(height)] for i in range(width)]
    return turned


def _coins(second: int, third: int, n: int) -> int:
    return sum((n - third * k) // second + 1 for k in range(n // third + 1))


def _covered(margin: int, pairs: Rows) -> int:
    """Unit steps, one by one."""
    return len({x for p, q in pairs for x in range(min(p, q) - margin, max(p, q) + margin)})


GRIDS: tuple[Template, ...] = (
    template(
        "grid_total", 1, "Add up the entries of `grid` that are at least @a.", "求`grid`中所有不小于@a的数之和。",
        [grid(high=30)], Kind.INT, {"a": range(1, 25)}, lambda a, grid: sum(n for row in grid for n in row if n >= a),
        "return sum(n for row in grid for n in row if n >= @a)", (">= @a", "> @a"), lambda a: [([[a]],)],
    ),
    template(
        "scaled_transpose", 2, "Swap rows and columns of `grid` and multiply every entry by @a.",
        "交换`grid`的行与列，并把每个数乘以@a。", [grid()], Kind.GRID, {"a": range(2, 40)},
        lambda a, grid: [[a * row[j] for row in grid] for j in range(len(grid[0]))],
        "return [[n * @a for n in column] for column in zip(*grid)]", ("zip(*grid)", "grid"),
        lambda a: [([[1, 2], [3, 4]],), ([[1, 2, 3]],)],
    ),
    template(
        "best_row", 3, "Which row of `grid` has the largest sum of entries above @a? Rows are numbered from @b; of "
        "equal "
        "sums the first row counts.", "`grid`中哪一行大于@a的数之和最大？行号从@b开始，和相同时取第一行。", [grid()],
        Kind.INT, {"a": range(0, 8), "b": range(0, 10)},
        lambda a, b, grid: b + max(range(len(grid)), key=lambda i: (sum(n for n in grid[i] if n > a), -i)), """
best, found = -1, 0
for i, row in enumerate(grid):
    total = sum(n for n in row if n > @a)
    if total > best:
        best, found = total, i
return found + @b""", ("if total > best", "if total >= best"), lambda a, b: [([[9], [9]],), ([[a + 1, 0], [0, a]],)],
    ),
    template(
        "covered_length", 3, "Each row of `pairs` gives the two ends of an interval, in any order. Each interval is "
        "made "
        "longer by @a at both ends. What is the total length covered by them?",
        "`pairs`的每一行是一个区间的两个端点，顺序任意。每个区间两端各延长@a。它们覆盖的总长度是多少？",
        [grid("pairs", high=60, shortest=0, longest=6, width=2)], Kind.INT, {"a": range(0, 16)}, _covered, """
total, reached = 0, None
for left, right in sorted((min(pair) - @a, max(pair) + @a) for pair in pairs):
    if reached is None or left > reached:
        total, reached = total + right - left, right
    else:
        total, reached = total + max(0, right - reached), max(reached, right)
return total""", ("max(reached, right)", "right"), lambda a: [([[0, 50], [3, 2], [40, 60]],), ([[5, 5]],)],
    ),
    template(
        "count_regions", 4, "Cells of `grid` with a value of at least @a are land. Land cells that touch along an edge "
        "belong to the same island. Count the islands.",
        "`grid`中数值不小于@a的格子是陆地，有公共边的陆地格子属于同一座岛。求岛的数量。", [grid()], Kind.INT,
        {"a": range(1, 10)}, _regions, """
land = {(i, j) for i, row in enumerate(grid) for j, cell in enumerate(row) if cell >= @a}
count = 0
while land:
    count += 1
    waiting = [land.pop()]
    while waiting:
        i, j = waiting.pop()
        for place in [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]:
            if place in land:
                land.remove(place)
                waiting.append(place)
return count""", ("(i, j - 1)]", "(i, j - 1), (i + 1, j + 1), (i - 1, j - 1)]"), lambda a: [([[a, 0], [0, a]],)],
    ),
    template(
        "count_payments", 4, "In how many ways can `n` be paid with coins of 1, @a and @b? The order of coins does not "
        "matter.", "用面值为1、@a和@b的硬币支付`n`，有多少种方法？不考虑硬币的顺序。", [num("n", 0, 200)], Kind.INT,
        {"a": range(2, 7), "b": range(7, 14)}, _coins, """
ways = [1] + [0] * n
for coin in (1, @a, @b):
    for amount in range(coin, n + 1):
        ways[amount] += ways[amount - coin]
return ways[n]""", ("(1, @a, @b)", "(1, @a)"), lambda a, b: [(b,), (2 * b,), (a,)],
    ),
    template(
        "shortest_way", 4, "Start in the top left cell of `grid` and move up, down, left or right, only through cells "
        "smaller than @a (the first and the last included). Give the least number of moves to the bottom right cell, "
        "or "
        "-1 if it cannot be reached.",
        "从`grid`左上角的格子出发，可以上下左右移动，只能经过数值小于@a的格子（包括起点和终点）。"
        "求到达右下角格子的最少步数，无法到达则为-1。", [grid()], Kind.INT, {"a": range(2, 10)}, _reach, """
height, width = len(grid), len(grid[0])
moves = {(0, 0): 0} if grid[0][0] < @a else {}
waiting = list(moves)
for i, j in waiting:
    for x, y in [(i + 1, j), (i, j + 1), (i - 1, j), (i, j - 1)]:
        if 0 <= x < height and 0 <= y < width and grid[x][y] < @a and (x, y) not in moves:
            moves[x, y] = moves[i, j] + 1
            waiting.append((x, y))
return moves.get((height - 1, width - 1), -1)""", (", (i - 1, j), (i, j - 1)]", "]"),
        lambda a: [([[0, 0, 0], [9, 9, 0], [0, 0, 0], [0, 9, 9], [0, 0, 0]],), ([[a]],), ([[0, 9], [9, 0]],)],
    ),
    template(
        "quarter_turns", 4, "Turn `grid` clockwise by 90 degrees, @a times in a row.",
        "把`grid`顺时针旋转90度，连续旋转@a次。",
        [grid()], Kind.GRID, {"a": [n for n in range(1, 40) if n % 4]}, _turned, """
for _ in range(@a % 4):
    grid = [list(row) for row in zip(*grid[::-1])]
return grid""", ("[::-1]", ""), lambda a: [([[1, 2, 3], [4, 5, 6]],)],
    ),
    template(
        "best_load", 5, "Each row of `items` is a weight and a value. Choose rows, each at most once, with a total "
        "weight "
        "of at most @a. What is the largest total value?",
        "`items`的每一行是重量和价值。每行最多选一次，总重量不超过@a。总价值最大是多少？",
        [grid("items", low=1, high=20, shortest=0, longest=8, width=2)], Kind.INT, {"a": range(5, 60)}, _pack, """
best = [0] * (@a + 1)
for weight, value in items:
    for load in range(@a, weight - 1, -1):
        best[load] = max(best[load], best[load - weight] + value)
return best[@a]""", ("range(@a, weight - 1, -1)", "range(weight, @a + 1)"), lambda a: [([[1, 5]],), ([[a, 3]],)],
    ),
    template(
        "first_order", 5, "There are @a jobs with numbers from 0 up. A row x y of `pairs` says that job x comes before "
        "job y. List the jobs in an order that keeps all rows; of all such orders, the one whose first job has the "
        "smallest number, then its second, and so on. If there is none, the result is an empty list.",
        "有@a项工作，编号从0开始。`pairs`中的一行x y表示工作x在工作y之前。列出满足所有要求的顺序，"
        "若有多种，先取第一项编号最小的，再取第二项编号最小的，依此类推。如果不存在，结果为空列表。",
        [grid("pairs", high=3, shortest=0, longest=5, width=2)], Kind.INTS, {"a": range(4, 7)}, _order, """
from heapq import heapify, heappop, heappush
before = [0] * @a
for x, y in pairs:
    before[y] += 1
ready = [job for job in range(@a) if before[job] == 0]
heapify(ready)
order = []
while ready:
    job = heappop(ready)
    order.append(job)
    for x, y in pairs:
        if x == job:
            before[y] -= 1
            if before[y] == 0:
                heappush(ready, y)
return order if len(order) == @a else []""", ("order if len(order) == @a else []", "order"),
        lambda a: [([[0, 1], [1, 0]],), ([[2, 0], [3, 1]],), ([[1, 1]],)],
    ),
    template(
        "cheapest_road", 5, "A row x y p of `roads` is a one-way road from town x to town y with the toll p. What is "
        "the "
        "lowest total toll from town 0 to town @a, when each arrival at a town also costs @b? If there is no way, the "
        "result is -1.",
        "`roads`中的一行x y p表示从城镇x到城镇y的单行道，过路费为p。每到达一个城镇还要另付@b。从城镇0到城镇@a的最少总"
        "费用是多少？"
        "如果无路可走，结果是-1。", [grid("roads", high=6, shortest=0, longest=14, width=3)], Kind.INT,
        {"a": range(1, 7), "b": range(0, 8)},
        lambda a, b, roads: _cheapest(a, [(x, y, p + b) for x, y, p in roads]), """
from heapq import heappop, heappush
known, waiting = {}, [(0, 0)]
while waiting:
    cost, town = heappop(waiting)
    if town in known:
        continue
    known[town] = cost
    for x, y, toll in roads:
        if x == town:
            heappush(waiting, (cost + toll + @b, y))
return known.get(@a, -1)""", ("if x == town:", "if x == town and toll:"),
        lambda a, b: [([[0, a, 0]],), ([[0, a, 6], [0, a, 1]],), ([[a, 0, 1]],)],
    ),
    template(
        "largest_square", 5, "Give the side of the largest square of neighbouring cells of `grid` that are all at "
        "least "
        "@a; 0 if no cell is.", "求`grid`中由相邻格子组成、且数值都不小于@a的最大正方形的边长，没有这样的格子则为0。",
        [grid()], Kind.INT, {"a": range(1, 10)}, _square, """
best = 0
above = [0] * (len(grid[0]) + 1)
for row in grid:
    sides = [0]
    for j, cell in enumerate(row):
        sides.append(1 + min(sides[j], above[j], above[j + 1]) if cell >= @a else 0)
    above = sides
    best = max(best, max(sides))
return best""", ("min(sides[j], above[j], above[j + 1])", "min(sides[j], above[j + 1])"), lambda a: [([[0, a], [a,
        a]],)],
    ),
    template(
        "count_routes", 5, "Count the ways from the top left to the bottom right cell of `grid` that only go right or "
        "down and only through cells smaller than @a (the first and the last included).",
        "从`grid`左上角走到右下角，只能向右或向下，且只能经过数值小于@a的格子（包括起点和终点）。求走法的数量。",
        [grid()], Kind.INT, {"a": range(2, 10)}, _routes, """
width = len(grid[0])
ways = [1] + [0] * (width - 1)
for row in grid:
    for j, cell in enumerate(row):
        ways[j] = (ways[j] + (ways[j - 1] if j else 0)) if cell < @a else 0
return ways[-1]""", ("< @a", "<= @a"), lambda a: [([[a]],), ([[0] * 6] * 6,)],
    ),
)  # fmt: skip
