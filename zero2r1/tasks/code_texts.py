"""Programming problems about texts and lists of words.

Each entry reads: name, level, statement in English and in Chinese, arguments, result, parameters, oracle, right body,
one wrong edit, and inputs that random ones rarely hit (`code_templates.py`).
"""

from collections import Counter
from collections.abc import Sequence

from zero2r1.tasks.code_templates import Kind, Template, template, text, words


def _deepest(brackets: str) -> int:
    level = deepest = 0
    for each in brackets:
        level += 1 if each in "([" else -1
        deepest = max(deepest, level)
    return deepest


def _nested(depth: int, brackets: str) -> bool:
    """What is closed properly vanishes when empty pairs are taken out again and again."""
    rest = brackets
    while "()" in rest or "[]" in rest:
        rest = rest.replace("()", "").replace("[]", "")
    return not rest and _deepest(brackets) <= depth


def _lines(width: int, said: Sequence[str]) -> int:
    lines: list[str] = []
    for word in said:
        longer = f"{lines[-1]} {word}" if lines else ""
        lines[-1:] = [longer] if lines and len(longer) <= width else [*lines[-1:], word]
    return len(lines)


def _robot(step: int, commands: str) -> list[int]:
    place, heading = 0j, 1j
    for command in commands:
        if command == "F":
            place += step * heading
        else:
            heading *= 1j if command == "L" else -1j
    return [int(place.real), int(place.imag)]


def _edit(other: int, swap: int, first: str, second: str) -> int:
    """Letter by letter from the front."""
    if not first or not second:
        return other * (len(first) + len(second))
    same = 0 if first[0] == second[0] else swap
    return min(
        same + _edit(other, swap, first[1:], second[1:]),
        other + _edit(other, swap, first[1:], second),
        other + _edit(other, swap, first, second[1:]),
    )


def _shared(ignored: str, first: str, second: str) -> int:
    if not first or not second:
        return 0
    if first[0] == second[0] != ignored:
        return 1 + _shared(ignored, first[1:], second[1:])
    return max(_shared(ignored, first[1:], second), _shared(ignored, first, second[1:]))


def _mirror(dear: str, said: str) -> int:
    if len(said) < 2:
        return 0
    if said[0] == said[-1]:
        return _mirror(dear, said[1:-1])
    return min((2 if said[0] == dear else 1) + _mirror(dear, said[1:]),
               (2 if said[-1] == dear else 1) + _mirror(dear, said[:-1]))  # fmt: skip


def _runs(joint: str, said: str) -> str:
    starts = [i for i in range(len(said)) if i == 0 or said[i] != said[i - 1]]
    ends = [*starts[1:], len(said)]
    return joint.join(f"{said[i]}{j - i}" for i, j in zip(starts, ends, strict=True)) if said else ""


TEXTS: tuple[Template, ...] = (
    template(
        "count_letter", 1, "Count how often the letter '@c' occurs in `text`, in lower or upper case.",
        "求字母'@c'在`text`中出现的次数，不区分大小写。", [text(alphabet="abcdefABCDEF")], Kind.INT, {"c": "abcdef"},
        lambda c, text: text.count(c) + text.count(c.upper()), 'return text.lower().count("@c")', (".lower()", ""),
        lambda c: [(c.upper() + c,)],
    ),
    template(
        "reversed_words", 1, "Write the words of `text` in reverse order, joined by '@s'. Words are separated by one "
        "or "
        "more spaces.", "把`text`中的单词按相反的顺序排列，用'@s'连接。单词之间有一个或多个空格。",
        [text(alphabet="ab c d", longest=16)], Kind.TEXT, {"s": "-_+*/:;,.|=~"},
        lambda s, text: s.join(reversed(text.split())), 'return "@s".join(text.split()[::-1])', ("split()",
        'split(" ")'),
        lambda s: [("a  b",), ("ab cd",)],
    ),
    template(
        "replace_letter", 1, "Replace every '@c' in `text` by '@d'.", "把`text`中所有的'@c'替换为'@d'。", [text()],
        Kind.TEXT, {"c": "abcd", "d": "uvwxyz"}, lambda c, d, text: d.join(text.split(c)),
        'return text.replace("@c", "@d")', ('"@d")', '"@d", 1)'), lambda c, d: [(c * 3,)],
    ),
    template(
        "count_beginning", 1, "Count the words in `words` that begin with '@c' and have at least @a letters.",
        "求`words`中以'@c'开头且至少有@a个字母的单词个数。", [words()], Kind.INT, {"c": "abc", "a": range(2, 5)},
        lambda c, a, words: len([word for word in words if word[0] == c and len(word) >= a]),
        'return sum(1 for word in words if word.startswith("@c") and len(word) >= @a)', (">= @a", "> @a"),
        lambda c, a: [([c * a, "x" + c * 3],)],
    ),
    template(
        "shift_letters", 2, "Move each lower-case letter of `text` @a places on in the alphabet, from z on to a again. "
        "Leave all other characters.", "把`text`中每个小写字母在字母表中后移@a位，z之后回到a，其他字符不变。",
        [text(alphabet="amyz!Q ")], Kind.TEXT, {"a": range(1, 26)},
        lambda a,
        text: "".join(("abcdefghijklmnopqrstuvwxyz" * 2)[ord(c) - 97 + a] if c.islower() else c for c in text),
        """
moved = ""
for letter in text:
    moved += chr((ord(letter) - 97 + @a) % 26 + 97) if "a" <= letter <= "z" else letter
return moved""", ("% 26", "% 27"), lambda a: [("abcxyz",), ("zzz Z",)],
    ),
    template(
        "run_lengths", 2, "Write each run of equal characters of `text` as the character and the length of the run, "
        "and "
        "join these by '@s'.", "把`text`中每一段相同的连续字符写成该字符加上这一段的长度，各段之间用'@s'连接。",
        [text(alphabet="aab", longest=16)], Kind.TEXT, {"s": "-_+*/:;,.|=~"}, _runs, """
from itertools import groupby
return "@s".join(letter + str(len(list(run))) for letter, run in groupby(text))""",
        ("str(len(list(run)))", "str(len(list(run)))[-1]"), lambda s: [("a" * 12,), ("abba",)],
    ),
    template(
        "is_mirrored", 2, "Decide whether `text` reads the same from both ends when every '@c' is left out and case "
        "does "
        "not matter.", "去掉`text`中所有的'@c'并忽略大小写后，判断它从前往后读与从后往前读是否相同。",
        [text(alphabet="aAb-.:", longest=6)], Kind.BOOL, {"c": "-.:"},
        lambda c, text: text.replace(c, "").upper() == text.replace(c, "").upper()[::-1], """
kept = [letter.lower() for letter in text if letter != "@c"]
return kept == kept[::-1]""", (".lower()", ""), lambda c: [("aA",), (f"Ab{c}a",), ("ab",), (f"{c}a",)],
    ),
    template(
        "frequent_in_first", 2, "Give the letters that occur at least @a times in `first` and at least once in "
        "`second`, each once, in alphabetical order, as one text.",
        "求在`first`中至少出现@a次且在`second`中出现过的字母，每个字母一次，按字母顺序连成一个字符串。",
        [text("first", longest=16), text("second", longest=6)], Kind.TEXT, {"a": range(1, 7)},
        lambda a, first, second: "".join(c for c in "abcd" if first.count(c) >= a and c in second),
        'return "".join(sorted(c for c in set(second) if first.count(c) >= @a))', (">= @a", "> @a"),
        lambda a: [("b" * a + "a" * a, "ab")],
    ),
    template(
        "longest_word", 2, "Give the longest of `words` with fewer than @a letters; of equally long ones the first. If "
        "there is none, the result is '@d'.",
        "求`words`中字母数少于@a的最长单词，一样长时取第一个。如果没有，结果是'@d'。", [words()], Kind.TEXT,
        {"a": range(3, 6), "d": ("none", "nothing", "nobody", "missing", "empty")},
        lambda a, d, words: max([w for w in words if len(w) < a] or [d], key=len), """
best = ""
for word in words:
    if len(best) < len(word) < @a:
        best = word
return best or "@d\"""", ("len(best) < len(word)", "len(best) <= len(word)"), lambda a, d: [(["ab", "ca", "c"],)],
    ),
    template(
        "is_nested", 3, "Decide whether the brackets () and [] in `text` are closed properly, each by its own kind, "
        "with "
        "at most @a open at the same time.",
        "判断`text`中的括号()和[]是否正确配对、按种类闭合，并且同时打开的括号不超过@a个。",
        [text(alphabet="()[]", longest=6)], Kind.BOOL, {"a": range(1, 12)}, _nested, """
opened = []
pairs = {")": "(", "]": "["}
for bracket in text:
    if bracket in "([":
        opened.append(bracket)
        if len(opened) > @a:
            return False
    elif not opened or opened.pop() != pairs[bracket]:
        return False
return not opened""", ("return not opened", "return True"),
        lambda a: [("(" * a + ")" * a,), ("[" * (a + 1) + "]" * (a + 1),), ("(",), ("([)]",), ("()[]",)],
    ),
    template(
        "anagram_groups", 3, "Words with the same letters, counted with repetition, form a group. Count the groups of "
        "at least @a members in `words`; a word that stands there twice counts twice.",
        "由相同字母（包括重复次数）组成的单词为一组。求`words`中至少有@a个成员的组数，重复出现的单词按次数计算。",
        [words(alphabet="ab", longest=12)], Kind.INT, {"a": range(1, 12)},
        lambda a, words: sum(n >= a for n in Counter((w.count("a"), w.count("b")) for w in words).values()), """
groups = {}
for word in words:
    letters = "".join(sorted(word))
    groups[letters] = groups.get(letters, 0) + 1
return sum(1 for size in groups.values() if size >= @a)""", ("sorted(word)", "sorted(set(word))"),
        lambda a: [(["ab" + "b" * i for i in range(max(a, 2))],)],
    ),
    template(
        "count_overlapping", 3, "Count the positions in `text` at which '@w' begins. Occurrences may overlap.",
        "求`text`中有多少个位置是'@w'的开头，出现的位置可以重叠。", [text(alphabet="ab", longest=24)], Kind.INT,
        {"w": ("aa", "bb", "aba", "bab", "aaa", "bbb", "abab", "baba", "ababa", "babab", "aabaa", "bbabb")},
        lambda w, text: sum(text[i : i + len(w)] == w for i in range(len(text))),
        'return sum(1 for i in range(len(text)) if text.startswith("@w", i))',
        ('sum(1 for i in range(len(text)) if text.startswith("@w", i))', 'text.count("@w")'),
        lambda w: [(w + w[1:],), (w + w[2:],), (w + w[3:],)],
    ),
    template(
        "wrapped_lines", 3, "Write `words` in order, with one space between two words of a line, and begin a new line "
        "only when the next word would make the line longer than @a characters. Count the lines.",
        "按顺序书写`words`，同一行的两个单词之间有一个空格，只有当加上下一个单词会使一行超过@a个字符时才换行。求行数。",
        [words(longest=14)], Kind.INT, {"a": range(6, 26)}, _lines, """
lines, used = 0, @a
for word in words:
    if used + 1 + len(word) > @a:
        lines, used = lines + 1, len(word)
    else:
        used += 1 + len(word)
return lines""", ("if used + 1 + len", "if used + len"), lambda a: [(["a" * (a // 2), "b" * (a - a // 2)],)],
    ),
    template(
        "edit_cost", 4, "Turn `first` into `second`. Inserting or deleting a letter costs @a, replacing one letter by "
        "another costs @b. What is the lowest total cost?",
        "把`first`变成`second`。插入或删除一个字母的代价是@a，把一个字母换成另一个的代价是@b。总代价最小是多少？",
        [text("first", longest=5), text("second", longest=5)], Kind.INT, {"a": range(2, 14), "b": range(1, 4)}, _edit,
        """
costs = [j * @a for j in range(len(second) + 1)]
for i, x in enumerate(first, start=1):
    row = [i * @a]
    for j, y in enumerate(second, start=1):
        row.append(min(costs[j] + @a, row[j - 1] + @a, costs[j - 1] + (0 if x == y else @b)))
    costs = row
return costs[-1]""", ("row = [i * @a]", "row = [i]"), lambda a, b: [("abc", ""), ("ab", "b")],
    ),
    template(
        "most_frequent", 4, "List the @a most frequent of `words` (all if there are fewer), the most frequent first; "
        "equally frequent ones in alphabetical order.",
        "列出`words`中出现次数最多的@a个单词（不足则全部列出），次数多的在前，次数相同的按字母顺序。",
        [words(alphabet="ab", longest=12)], Kind.WORDS, {"a": range(1, 12)},
        lambda a, words: [w for _, w in sorted((-words.count(w), w) for w in set(words))][:a], """
counts = {}
for word in words:
    counts[word] = counts.get(word, 0) + 1
return sorted(counts, key=lambda word: (-counts[word], word))[:@a]""", ("(-counts[word], word)", "-counts[word]"),
        lambda a: [(["b", "a"],), (["a", "b", "b"],)],
    ),
    template(
        "robot_walk", 4, "A robot stands at (0, 0) and looks along the positive y axis. In `text`, L turns it left "
        "by 90 "
        "degrees, R right, and F moves it @a forward. Give its final x and y.",
        "机器人位于(0, 0)，面向y轴正方向。`text`中L表示左转90度，R表示右转90度，F表示前进@a。求它最后的x和y坐标。",
        [text(alphabet="LRFF")], Kind.INTS, {"a": range(1, 40)}, _robot, """
x, y, dx, dy = 0, 0, 0, 1
for command in text:
    if command == "L":
        dx, dy = -dy, dx
    elif command == "R":
        dx, dy = dy, -dx
    else:
        x, y = x + @a * dx, y + @a * dy
return [x, y]""", ("dx, dy = dy, -dx", "dx, dy = -dy, dx"), lambda a: [("RF",), ("LFLF",)],
    ),
    template(
        "longest_shared", 5, "Give the length of the longest text without the letter '@c' and of at most @a letters "
        "that "
        "can be got from both `first` and `second` by deleting letters.",
        "从`first`和`second`中各删去一些字母，可以得到相同的字符串。求其中不含字母'@c'且长度不超过@a的最长字符串的长"
        "度。",
        [text("first", longest=8), text("second", longest=8)], Kind.INT, {"c": "abcd", "a": range(3, 8)},
        lambda c, a, first, second: min(a, _shared(c, first, second)), """
best = [0] * (len(second) + 1)
for x in first:
    row = [0]
    for j, y in enumerate(second, start=1):
        row.append(best[j - 1] + 1 if x == y and x != "@c" else max(best[j], row[j - 1]))
    best = row
return min(best[-1], @a)""", (' and x != "@c"', ""), lambda c, a: [(c, c), ("abcd", "abcd"), ("aaaabbbb", "aaaabbbb")],
    ),
    template(
        "mirror_cost", 5, "Insert letters anywhere in `text` until it reads the same from both ends. Inserting '@c' "
        "costs 2, any other letter costs 1. What is the lowest total cost, times @a?",
        "在`text`中任意位置插入字母，使它从前往后读与从后往前读相同。插入'@c'的代价为2，其他字母为1。求最小总代价乘以"
        "@a的值。",
        [text(alphabet="abc", longest=9)], Kind.INT, {"c": "abc", "a": range(1, 8)},
        lambda c, a, text: a * _mirror(c, text), """
def price(letter):
    return 2 if letter == "@c" else 1
size = len(text)
cost = [[0] * (size + 1) for _ in range(size + 1)]
for i in range(size - 1, -1, -1):
    for j in range(i + 1, size):
        if text[i] == text[j]:
            cost[i][j] = cost[i + 1][j - 1] if i + 1 < j else 0
        else:
            cost[i][j] = min(price(text[i]) + cost[i + 1][j], price(text[j]) + cost[i][j - 1])
return @a * (cost[0][size - 1] if size else 0)""", ("return 2 if", "return 1 if"), lambda c, a: [(c * 2 + "x" * 5,)],
    ),
)  # fmt: skip
