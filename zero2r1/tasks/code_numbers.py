"""Programming problems about whole numbers: digits, divisors, primes, recurrences, counting without loops.

Some inputs are so large that a loop over them never ends in time; there the test is about speed too. Each entry reads:
name, level, statement in English and in Chinese, arguments, result, parameters, oracle, right body, one wrong edit, and
inputs that random ones rarely hit.
"""

import math

from zero2r1.tasks.code_templates import Kind, Template, num, template

QUADRILLION = 10**15


def _ways(step: int, stairs: int) -> int:
    known = [1]
    for stair in range(1, stairs + 1):
        known.append(known[stair - 1] + (known[stair - step] if stair >= step else 0))
    return known[stairs]


def _collatz(cap: int, n: int) -> int:
    steps = 0
    while n != 1 and steps < cap:
        n, steps = (3 * n + 1 if n % 2 else n // 2), steps + 1
    return steps


def _digits(base: int, n: int) -> list[int]:
    return [n] if n < base else [*_digits(base, n // base), n % base]


def _roman(shift: int, n: int) -> str:
    """Place by place: each digit has a pattern over the one, five and ten of its place."""
    patterns = ("", "0", "00", "000", "01", "1", "10", "100", "1000", "02")
    said = ""
    for place, letters in ((1000, "M??"), (100, "CDM"), (10, "XLC"), (1, "IVX")):
        said += "".join(letters[int(mark)] for mark in patterns[(n + shift) // place % 10])
    return said


def _exponent(prime: int, n: int) -> int:
    return n // prime + _exponent(prime, n // prime) if n else 0


def _fibonacci(modulus: int, n: int) -> int:
    """By powers of the matrix [[1, 1], [1, 0]]."""
    result, power = (1, 0, 1), (1, 1, 0)
    while n:
        if n % 2:
            result = _product(result, power, modulus)
        power, n = _product(power, power, modulus), n // 2
    return result[1] % modulus


def _product(left: tuple[int, int, int], right: tuple[int, int, int], modulus: int) -> tuple[int, int, int]:
    """Of two symmetric 2x2 matrices that commute, each as (top left, top right, bottom right)."""
    (a, b, c), (d, e, f) = left, right
    return (a * d + b * e) % modulus, (a * e + b * f) % modulus, (b * e + c * f) % modulus


def _without_digit(digit: int, n: int) -> int:
    """Numbers without a digit are the numerals of base 9: read the largest one up to n as such."""
    value, is_cut = 0, False
    for each in map(int, str(n)):
        value = value * 9 + (8 if is_cut else each - (each >= digit))
        is_cut = is_cut or each == digit
    return value


def _last_left(step: int, people: int) -> int:
    circle, place = list(range(1, people + 1)), 0
    while len(circle) > 1:
        place = (place + step - 1) % len(circle)
        circle.pop(place)
    return circle[0]


NUMBERS: tuple[Template, ...] = (
    template(
        "scaled_digit_sum", 1, "Add up the decimal digits of `n` and multiply the sum by @a.",
        "求`n`的各位数字之和，再乘以@a。", [num("n", 0, 10**6)], Kind.INT, {"a": range(2, 60)},
        lambda a, n: a * sum(map(int, str(n))), "return sum(int(digit) for digit in str(n)) * @a", ("* @a", "+ @a"),
    ),
    template(
        "clamp", 1, "Give `n` itself if it lies between @a and @b, otherwise the nearer of these two bounds.",
        "如果`n`在@a和@b之间，结果就是`n`，否则是两个界限中较近的一个。", [num("n", -60, 60)], Kind.INT,
        {"a": range(-30, 0), "b": range(1, 30)}, lambda a, b, n: sorted((a, n, b))[1],
        "return max(@a, min(@b, n))", ("max(@a, min(@b, n))", "min(@b, n)"),
    ),
    template(
        "sum_is_multiple", 1, "Decide whether `x` + `y` is divisible by @a.", "判断`x`+`y`能否被@a整除。",
        [num("x", -50, 50), num("y", -50, 50)], Kind.BOOL, {"a": range(3, 40)}, lambda a, x, y: (x + y) % a == 0,
        "return (x + y) % @a == 0", ("x + y", "x - y"), lambda a: [(1, a - 1), (a, 0), (a + 1, 1)],
    ),
    template(
        "capped_steps", 2, "Start at `n`. An even number is halved, an odd one is tripled and increased by 1. Count "
        "the "
        "steps until 1 is reached, but never more than @a.",
        "从`n`开始，偶数除以2，奇数乘以3再加1。求到达1所需的步数，但最多只数@a步。", [num("n", 1, 1000)], Kind.INT,
        {"a": range(5, 60)}, _collatz, """
steps = 0
while n != 1 and steps < @a:
    n = n // 2 if n % 2 == 0 else 3 * n + 1
    steps += 1
return steps""", ("steps < @a", "steps <= @a"), lambda a: [(27,), (1,)],
    ),
    template(
        "digits_in_base", 2, "Give the digits of `n` in base @a as a list of integers, the highest place first. Zero "
        "has "
        "one digit.", "求`n`在@a进制下的各位数字，按从高位到低位的顺序组成整数列表。零有一位数字。",
        [num("n", 0, 10**6)], Kind.INTS, {"a": range(2, 40)}, _digits, """
digits = []
while n:
    digits.append(n % @a)
    n //= @a
return digits[::-1] or [0]""", (" or [0]", ""),
    ),
    template(
        "count_primes", 3, "Count the primes from @a up to `n`, both included.",
        "求从@a到`n`（含两端）之间质数的个数。",
        [num("n", 0, 2000)], Kind.INT, {"a": (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)},
        lambda a, n: sum(all(p % d for d in range(2, math.isqrt(p) + 1)) for p in range(a, n + 1)), """
is_prime = [True] * (n + 1)
for p in range(2, n + 1):
    if is_prime[p]:
        for multiple in range(p * p, n + 1, p):
            is_prime[multiple] = False
return sum(1 for p in range(2, n + 1) if is_prime[p] and p >= @a)""", ("p >= @a", "p > @a"), lambda a: [(a,)],
    ),
    template(
        "shifted_roman", 3, "Add @a to `n` and write the sum as a Roman numeral.", "把`n`加上@a，将和写成罗马数字。",
        [num("n", 1, 1500)], Kind.TEXT, {"a": range(0, 400)}, _roman, """
numerals = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
            (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
rest, said = n + @a, ""
for value, letters in numerals:
    said += letters * (rest // value)
    rest %= value
return said""", ('(4, "IV"), ', ""), lambda a: [(1004 - a,), (1499 - a,)],
    ),
    template(
        "climb_ways", 3, "A staircase has `n` steps. Each move climbs 1 step or @a steps. In how many ways can one "
        "reach "
        "the top?", "楼梯有`n`级台阶，每次可以上1级或@a级。到达顶端有多少种走法？", [num("n", 0, 60)], Kind.INT,
        {"a": range(2, 26)}, _ways, """
ways = [1] * (n + 1)
for i in range(1, n + 1):
    ways[i] = ways[i - 1] + (ways[i - @a] if i >= @a else 0)
return ways[n]""", ("i >= @a", "i > @a"), lambda a: [(a,), (a - 1,), (90,)],
    ),
    template(
        "multiples_by_digit_sum", 3, "Count the integers from 1 to `n` whose digit sum is divisible by @a.",
        "求1到`n`之间有多少个整数的各位数字之和能被@a整除。", [num("n", 1, 3000)], Kind.INT, {"a": range(2, 20)},
        lambda a, n: len([k for k in range(1, n + 1) if sum(map(int, str(k))) % a == 0]),
        "return sum(1 for k in range(1, n + 1) if sum(int(d) for d in str(k)) % @a == 0)",
        ("range(1, n + 1)", "range(n + 1)"),
    ),
    template(
        "power_modulo", 4, "Give the remainder of `x` to the power `n` when divided by @a. `n` can be as large as "
        "10^15.",
        "求`x`的`n`次方除以@a的余数。`n`最大为10^15。", [num("x", 0, 10**6), num("n", 0, 50)], Kind.INT,
        {"a": range(90, 1000, 7)}, lambda a, x, n: pow(x, n, a), """
result, base = 1, x % @a
while n:
    if n % 2:
        result = result * base % @a
    base = base * base % @a
    n //= 2
return result""", ("if n % 2:", "if n % 3:"), lambda a: [(2, QUADRILLION), (a + 3, QUADRILLION - 1), (0, 0)],
    ),
    template(
        "factorial_exponent", 4, "How many times does the prime @a divide n! = 1 * 2 * ... * `n`? `n` can be as "
        "large as "
        "10^15.", "质数@a最多能整除n!（即1到`n`的乘积）多少次？`n`最大为10^15。", [num("n", 0, 3000)], Kind.INT,
        {"a": (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)}, _exponent, """
count = 0
while n:
    n //= @a
    count += n
return count""", ("while n:", "if n:"), lambda a: [(a * a,), (QUADRILLION,)],
    ),
    template(
        "last_in_circle", 4, "`n` people numbered 1 to `n` stand in a circle. Counting starts at number 1, and every "
        "@a-th person leaves until one is left. Which number stays?",
        "`n`个人编号为1到`n`围成一圈，从1号开始报数，每数到第@a个人就离开，直到只剩一人。留下的人是几号？",
        [num("n", 1, 300)], Kind.INT, {"a": range(2, 60)}, _last_left, """
place = 0
for size in range(2, n + 1):
    place = (place + @a) % size
return place + 1""", ("range(2, n + 1)", "range(2, n)"),
    ),
    template(
        "multiples_of_either", 5, "Count the integers from 1 to `n` that are divisible by @a or by @b. `n` can be as "
        "large as 10^15.", "求1到`n`之间能被@a或@b整除的整数个数。`n`最大为10^15。", [num("n", 0, 2000)], Kind.INT,
        {"a": (6, 12, 18, 30), "b": (4, 8, 10, 14, 20, 22)},
        lambda a, b, n: n // a + n // b - n // math.lcm(a, b), """
x, y = @a, @b
while y:
    x, y = y, x % y
common = @a * @b // x
return n // @a + n // @b - n // common""", ("@a * @b // x", "@a * @b"), lambda a, b: [(a * b,), (QUADRILLION,)],
    ),
    template(
        "fibonacci_modulo", 5, "The Fibonacci numbers are F(0) = 0, F(1) = 1, F(k) = F(k-1) + F(k-2). Give F(`n`) "
        "modulo "
        "@a. `n` can be as large as 10^15.",
        "斐波那契数列为F(0)=0，F(1)=1，F(k)=F(k-1)+F(k-2)。求F(`n`)除以@a的余数。`n`最大为10^15。",
        [num("n", 0, 300)], Kind.INT, {"a": range(11, 1000, 13)}, _fibonacci, """
x, y = 0, 1
for bit in bin(n)[2:]:
    x, y = x * (2 * y - x) % @a, (x * x + y * y) % @a
    if bit == "1":
        x, y = y, (x + y) % @a
return x % @a""", ("2 * y - x", "2 * y + x"), lambda a: [(QUADRILLION,), (QUADRILLION - 7,)],
    ),
    template(
        "numbers_without_digit", 5, "Count the integers from 1 to `n` that do not contain the decimal digit @a. `n` "
        "can "
        "be as large as 10^15.", "求1到`n`之间不含数字@a的整数个数。`n`最大为10^15。", [num("n", 1, 3000)], Kind.INT,
        {"a": range(1, 10)}, _without_digit, """
digits = [int(digit) for digit in str(n)]
total = 0
for i, digit in enumerate(digits):
    smaller = digit - (1 if digit > @a else 0)
    total += smaller * 9 ** (len(digits) - i - 1)
    if digit == @a:
        return total - 1
return total""", ("digit > @a", "digit >= @a"), lambda a: [(a,), (10 * a + 5,), (QUADRILLION,)],
    ),
)  # fmt: skip
