"""Evaluation with a policy, a task and a reward written by hand."""

import json
import time
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import UserError
from zero2r1.core.random import Address
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, Score, Verdict, content_id
from zero2r1.evals.config import EvalConfig, preset
from zero2r1.evals.reading import count_words, read
from zero2r1.evals.result import EvalResult, paired_difference
from zero2r1.evals.run import evaluate

ADDRESS = Address(seed=7, stage="r1_zero/eval", step=0)


def prompt_of(question: str, gold: str, language: str = "en", domain: str = "arithmetic", level: int = 1) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=question),),
        reference=gold,
        gold=gold,
        answer_kind=AnswerKind.NUMBER,
        domain=domain,
        language=language,
        level=level,
    )


QUESTIONS = [
    prompt_of("1+1?", "2"),
    prompt_of("2+2?", "4", level=2),
    prompt_of("三加三？", "6", language="zh", domain="words"),
    prompt_of("1+1?", "2"),
]


class ListTask:
    name = "sums"

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Prompt]:
        assert split == "test"
        return QUESTIONS[start : start + count]


def well(thinking: str, answer: str) -> str:
    return f"<think> {thinking} </think> <answer> {answer} </answer>"


ZERO_SAYS = {
    "1+1?": [well("one and one make two", "2"), well("one and one", "3"), "the answer is 2", "<think> wait"],
    "2+2?": [well("two and two 等于四 然后", "4")] * 4,
    "三加三？": [well("三加三得六", "6"), well("三加三得六", "6"), well("three and three", "7"), well("broken", "6")],
}


class Parrot:
    """Says what it was told to say; knows its own sampling settings."""

    version = 3
    weights_hash = "feed" * 4

    def __init__(self, sayings: dict[str, list[str]]) -> None:
        self.sayings = sayings
        self.calls: list[tuple[int, float, float, int]] = []

    def sample(
        self, prompts: Sequence[Prompt], samples_per_prompt: int, *, sampling, address, on_finished=None
    ) -> list[list[Completion]]:
        self.calls.append((len(prompts), sampling.temperature, sampling.top_p, sampling.max_new_tokens))
        return [[self._say(prompt, sample) for sample in range(samples_per_prompt)] for prompt in prompts]

    def _say(self, prompt: Prompt, sample: int) -> Completion:
        text = self.sayings[prompt.question][sample]
        num_tokens = len(text.split())
        return Completion(
            prompt=prompt,
            sample=sample,
            prompt_token_ids=(1, 2),
            token_ids=(5,) * num_tokens,
            logprobs=(-0.5,) * num_tokens,
            text=text,
            finish=Finish.LENGTH if "wait" in text else Finish.STOP,
            policy_version=3,
            weights_hash=self.weights_hash,
        )

    def follow(self, model: object, *, version: int) -> None:
        raise NotImplementedError


def compare(prompt: Prompt, completion: Completion) -> Score:
    if "broken" in completion.text:
        return Score(value=None, verdict=Verdict.ERROR, parts={"accuracy": None}, notes=("the grader died",))
    is_right = f"<answer> {prompt.gold} " in completion.text
    return Score(
        value=float(is_right),
        verdict=Verdict.RIGHT if is_right else Verdict.WRONG,
        parts={"accuracy": float(is_right)},
    )


def measured(sayings=ZERO_SAYS, **settings) -> EvalResult:
    config = EvalConfig(questions=4, samples=4, max_new_tokens=64, **settings)
    return evaluate(Parrot(sayings), ListTask(), compare, config, dialect=Dialect.R1_ZERO, address=ADDRESS)


def test_every_number_by_hand():
    result = measured()
    # The fourth question repeats the first: three distinct ones. Right: 1 of 4, 4 of 4, 2 of 3 (one error).
    assert (result.n, result.k, result.num_errors) == (3, 4, 1)
    assert result.metrics["pass@1"].mean == pytest.approx((1 / 4 + 1 + 2 / 3) / 3)
    # pass@4 needs 4 judged samples: the third question has 3. Both others have at least one right.
    assert result.metrics["pass@4"].mean == 1.0
    assert result.metrics["pass@4"].n == 2
    # Votes: {2, 3} tied -> 1/2; 4 -> 1; {6, 6, 7} -> 1.
    assert result.metrics["cons@4"].mean == pytest.approx((0.5 + 1 + 1) / 3)
    assert result.metrics["format"].mean == pytest.approx((2 / 4 + 1 + 1) / 3)
    assert result.metrics["length/truncated_frac"].mean == pytest.approx((1 / 4 + 0 + 0) / 3)


def test_language_and_readability_are_seen():
    rows = {row.prompt_id: row for row in measured().questions}
    mixed, chinese = rows[QUESTIONS[1].id], rows[QUESTIONS[2].id]
    assert mixed.language_consistency < 0.9
    assert mixed.readable == 0.0
    # Two Chinese answers read well; "three and three" and "broken" are English in a Chinese dialogue.
    assert chinese.readable == pytest.approx(2 / 4)
    assert chinese.language_consistency == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_breakdowns_by_language_domain_and_level():
    groups = measured().groups
    assert groups["language"]["zh"]["pass@1"].mean == pytest.approx(2 / 3)
    assert groups["language"]["en"]["pass@1"].n == 2
    assert set(groups["domain"]) == {"arithmetic", "words"}
    assert groups["level"]["2"]["pass@1"].mean == 1.0


def test_the_settings_stand_beside_the_score_and_reach_the_policy():
    policy = Parrot(ZERO_SAYS)
    config = EvalConfig(questions=4, samples=2, temperature=0.6, top_p=0.95, max_new_tokens=32, batch_questions=2)
    result = evaluate(
        policy, ListTask(), compare, config, dialect=Dialect.R1_ZERO, address=ADDRESS, template="User: {q}"
    )
    assert policy.calls == [(2, 0.6, 0.95, 32), (1, 0.6, 0.95, 32)]
    assert result.template_hash == content_id("User: {q}")
    for part in ("n=3×2", "temperature 0.6", "top_p 0.95", "max 32", result.template_hash[:8], "cons@2", "errors 0"):
        assert part in result.line()


def test_batching_changes_nothing():
    assert measured(batch_questions=1).to_json() == measured(batch_questions=100).to_json()


def test_judging_beside_sampling_changes_nothing():
    class Telling(Parrot):
        def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
            groups = super().sample(prompts, samples_per_prompt, sampling=sampling, address=address)
            for said in [said for group in groups for said in group][::-1]:
                on_finished(said)
            return groups

    class Many:
        workers = 4

        def __call__(self, asked: Prompt, said: Completion) -> Score:
            time.sleep(0.002 * (said.sample % 2))
            return compare(asked, said)

    config = EvalConfig(questions=4, samples=4, max_new_tokens=64)
    found = evaluate(Telling(ZERO_SAYS), ListTask(), Many(), config, dialect=Dialect.R1_ZERO, address=ADDRESS)
    assert found.to_json() == measured().to_json()
    assert found.samples == measured().samples


def test_a_result_survives_json_and_names_its_schema():
    result = measured()
    data = json.loads(json.dumps(result.to_json()))
    back = EvalResult.from_json(data)
    assert back.to_json() == result.to_json()
    assert back.metrics == result.metrics
    assert "samples" not in data
    with pytest.raises(UserError, match="schema version 99"):
        EvalResult.from_json({**data, "schema_version": 99})


def test_each_sample_is_one_plain_row():
    rows = measured().samples
    assert len(rows) == 12
    first = json.loads(json.dumps(rows[0]))
    assert first["verdict"] == "right"
    assert first["answer"] == "2"
    assert first["gold"] == "2"
    assert first["tokens"] == len(rows[0]["text"].split())
    assert rows[3]["finish"] == "length"
    assert not rows[3]["is_well_formed"]
    assert rows[3]["problem"]


def test_two_results_on_the_same_questions_differ_by_pairs():
    better = measured({**ZERO_SAYS, "1+1?": [well("one and one make two", "2")] * 4})
    found = paired_difference(measured(), better)
    # Differences 3/4, 0, 0.
    assert found.mean == pytest.approx(0.25)
    assert found.n == 3
    assert paired_difference(measured(), better, "format").mean == pytest.approx((2 / 4) / 3)


def test_a_difference_of_unknown_metrics_or_of_other_questions_is_refused():
    result = measured()
    with pytest.raises(UserError, match="no paired difference of 'loss'"):
        paired_difference(result, result, "loss")
    other = EvalResult.from_json({**result.to_json(), "questions": []})
    with pytest.raises(UserError, match="share no measured question"):
        paired_difference(result, other)


def test_the_presets_are_the_papers():
    config = preset("deepseek-r1")
    assert (config.temperature, config.top_p, config.samples, config.max_new_tokens) == (0.6, 0.95, 64, 32768)
    with pytest.raises(UserError, match="no evaluation preset 'gpt'"):
        preset("gpt")


def test_greedy_decoding_with_many_samples_is_refused():
    with pytest.raises(ValidationError, match="set samples to 1"):
        EvalConfig(temperature=0.0, samples=4)
    assert EvalConfig(temperature=0.0, samples=1).samples == 1


def test_an_answer_inside_the_thinking_is_no_final_part():
    look = read("<think> <answer> 2 </answer>", "en", Dialect.R1_ZERO)
    assert not look.is_readable
    assert look.answer is None


def test_a_loop_is_not_readable():
    text = well("so " + "wait, that is not right. " * 20, "2")
    assert read(text, "en", Dialect.R1_ZERO).is_well_formed
    assert not read(text, "en", Dialect.R1_ZERO).is_readable


def test_an_unknown_language_is_not_measured():
    assert read(well("unu kaj unu", "2"), "eo", Dialect.R1_ZERO).language_consistency is None


def test_a_prefilled_thinking_tag_belongs_to_the_prompt():
    look = read("one and one\n</think>\n\nIt is \\boxed{2}.", "en", Dialect.R1, prefilled=True)
    assert look.is_readable
    assert look.answer == "2"
    assert look.thinking_words == 3


def test_words_are_counted_in_both_scripts():
    # Seven Han characters one by one, then "x1" and "ok".
    assert count_words("我来算三加三，x1 = ok!") == 6 + 2
    assert count_words("") == 0
