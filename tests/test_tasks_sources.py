"""Laws of the task sources: prompt i is the same however drawn, splits never meet, mixtures keep their weights."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.errors import DataError
from zero2r1.core.types import Prompt, Task, content_id
from zero2r1.tasks.base import FAMILIES, SPLITS, Mixture, TaskConfig, make_task, split_of
from zero2r1.tasks.general import general_rows
from zero2r1.tasks.mixture import CYCLE, _slots
from zero2r1.tasks.synthetic import Problem, ProblemSource

laws = settings(max_examples=10, deadline=None)
family_names = st.sampled_from(sorted(FAMILIES))


def one(family: str, seed: int = 0, **settings_: object) -> Task:
    return make_task([TaskConfig.model_validate({"family": family, **settings_})], seed)


def mixed(seed: int) -> Task:
    return make_task([TaskConfig(family=name, levels=(1, 2)) for name in sorted(FAMILIES)], seed)


@laws
@given(family=family_names, seed=st.integers(0, 2**31), start=st.integers(0, 500), split=st.sampled_from(SPLITS))
def test_prompt_i_is_the_same_however_it_is_drawn(family: str, seed: int, start: int, split: str) -> None:
    start = start if split == "train" else start % 20
    together = one(family, seed).draw(start + 5, split=split)[start:]
    block = one(family, seed).draw(5, start=start, split=split)
    backwards_task = one(family, seed)
    singles = [backwards_task.draw(1, start=index, split=split)[0] for index in reversed(range(start, start + 5))]
    assert together == block == singles[::-1]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), start=st.integers(0, 1000))
def test_prompt_i_of_a_mixture_is_the_same_however_it_is_drawn(seed: int, start: int) -> None:
    block = mixed(seed).draw(4, start=start)
    assert block == [mixed(seed).draw(1, start=index)[0] for index in range(start, start + 4)]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_splits_never_share_a_problem_in_any_wording_or_language(family: str) -> None:
    task = one(family)
    assert isinstance(task, ProblemSource)
    identities = {
        split: {problem.identity for problem in task.problems(count, split=split)}
        for split, count in (("train", 300), ("validation", 30), ("test", 30))
    }
    assert not identities["train"] & identities["test"]
    assert not identities["train"] & identities["validation"]
    assert not identities["validation"] & identities["test"]


def test_a_sum_and_its_mirror_are_one_problem_but_a_difference_is_not() -> None:
    task = one("arithmetic", operations=("+", "-"))
    assert isinstance(task, ProblemSource)
    for problem in task.problems(200):
        left, right = (int(number) for number in problem.identity.replace("-", "+").split("+"))
        assert left <= right if "+" in problem.identity else left >= right


def test_different_seeds_still_agree_on_the_splits() -> None:
    trained = {problem.identity for problem in _problems(one("arithmetic", 1), 700, "train")}
    tested = {problem.identity for problem in _problems(one("arithmetic", 2), 80, "test")}
    assert not trained & tested


def _problems(task: Task, count: int, split: str) -> list[Problem]:
    assert isinstance(task, ProblemSource)
    return task.problems(count, split=split)


@laws
@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_the_split_of_a_hash_is_fixed(contents: list[str]) -> None:
    hashes = [content_id(content) for content in contents]
    assert [split_of(each) for each in hashes] == [split_of(each) for each in hashes]
    assert {split_of(each) for each in hashes} <= set(SPLITS)


def test_splits_are_eighty_ten_ten() -> None:
    counts = Counter(split_of(content_id(index)) for index in range(10_000))
    # Standard deviation of 10 % of 10,000 is 30.
    assert abs(counts["test"] - 1000) < 150
    assert abs(counts["validation"] - 1000) < 150


def test_held_out_prompts_are_distinct_and_their_ids_are_hashes_of_their_content() -> None:
    prompts = mixed(3).draw(150, split="test")
    assert len({prompt.id for prompt in prompts}) == 150
    copies = [
        Prompt(
            messages=prompt.messages,
            reference=prompt.reference,
            gold=prompt.gold,
            answer_kind=prompt.answer_kind,
            domain=prompt.domain,
            language=prompt.language,
            level=prompt.level,
        )
        for prompt in prompts
    ]
    assert [copy.id for copy in copies] == [prompt.id for prompt in prompts]


def test_train_is_endless_where_a_family_is_small() -> None:
    task = one("arithmetic", operations=("*",), languages=("en",))
    prompts = task.draw(3, start=10**9) + task.draw(500)
    assert len(prompts) == 503
    assert len({prompt.id for prompt in prompts}) < 503


def test_a_held_out_split_says_when_it_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zero2r1.tasks.synthetic.MAX_REPEATS", 100)
    # One-digit factors 2 to 9 and 90 two-digit factors: 720 products, a tenth of them held out for the test.
    task = one("arithmetic", operations=("*",), languages=("en",))
    with pytest.raises(DataError, match=r"Z135 the test split of 'arithmetic' has \d\d questions, 500 were asked for"):
        task.draw(500, split="test")
    assert len(task.draw(40, split="test")) == 40


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="no split 'dev'"):
        one("chain").draw(1, split="dev")


def test_languages_levels_and_operations_are_kept() -> None:
    prompts = one("arithmetic", languages=("zh",), levels=(2, 4), operations=("-",)).draw(50)
    assert {prompt.language for prompt in prompts} == {"zh"}
    assert {prompt.level for prompt in prompts} == {2, 4}
    assert all("-" in prompt.question or "减" in prompt.question for prompt in prompts)


def test_a_mixture_keeps_its_weights_exactly_in_every_cycle() -> None:
    configs = [TaskConfig(family="arithmetic", weight=3), TaskConfig(family="chain"), TaskConfig(family="ordering")]
    domains = Counter(prompt.domain for prompt in make_task(configs, 5).draw(240, start=480))
    assert domains == {"arithmetic": 144, "chain": 48, "ordering": 48}


def test_a_rare_part_of_a_mixture_still_comes_and_uses_each_of_its_prompts() -> None:
    rare = one("countdown")
    mixture = Mixture([(one("arithmetic"), 5000), (rare, 1)], seed=2)
    drawn = [prompt for prompt in mixture.draw(720) if prompt.domain == "countdown"]
    assert drawn == rare.draw(3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=12))
def test_the_places_of_a_cycle_follow_the_weights_and_leave_nobody_out(weights: list[float]) -> None:
    sizes = Counter(_slots(weights))
    assert sum(sizes.values()) == CYCLE
    assert set(sizes) == set(range(len(weights)))
    for part, weight in enumerate(weights):
        share = weight / sum(weights) * CYCLE
        # Within one place of the exact share, except where parts below one place take theirs from the others.
        assert share - len(weights) <= sizes[part] <= share + 1


def test_two_sources_of_one_family_do_not_repeat_each_other() -> None:
    prompts = make_task([TaskConfig(levels=(5,)), TaskConfig(levels=(5,))], 0).draw(100)
    assert len({prompt.id for prompt in prompts}) == 100


def test_general_rows_are_endless_bilingual_and_the_same_however_drawn() -> None:
    rows = general_rows(200, 0, 9)
    assert general_rows(3, 50, 9) == rows[50:53]
    assert {prompt.language for prompt, _ in rows} == {"en", "zh"}
    assert all(prompt.gold == "" and reply for prompt, reply in rows)
    assert len({prompt.id for prompt, _ in rows}) > 60
