"""What becomes a supervised row: each rule drops its own kind of sample, and the count says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from zero2r1.core.dialogue import Dialect, parse, render
from zero2r1.core.run import RunFolder
from zero2r1.core.types import AnswerKind, Message, Prompt, Score, Verdict
from zero2r1.stages.config import SamplingFilter
from zero2r1.stages.context import Context
from zero2r1.stages.observer import Silent
from zero2r1.stages.rewrite import first_person
from zero2r1.stages.rows import make_row, read_rows, write_rows
from zero2r1.stages.traces import keep_good, sample_chunks
from zero2r1.tasks.gold import gold_completion

GOOD = "<think> ones 7+8=15 carry 1\nso we get 85 </think> <answer> 85 </answer>"
FILTER = SamplingFilter(keep_per_prompt=2, max_paragraph_words=20)


def _row(
    text: str, *, verdict: str = "right", finish: str = "stop", question: str = "What is 37+48?", language: float = 1.0
) -> dict[str, Any]:
    return {
        "id": f"{abs(hash(text)):016x}"[:16],
        "prompt": {
            "id": question,
            "messages": [["user", question]],
            "reference": "85",
            "gold": "85",
            "answer_kind": "number",
            "domain": "arithmetic",
            "language": "en",
            "level": 1,
        },
        "text": text,
        "finish": finish,
        "verdict": verdict,
        "parts": {"language": language},
        "weights_hash": "w",
    }


def _dropped(*rows: dict[str, Any], settings: SamplingFilter = FILTER) -> dict[str, int]:
    return keep_good(rows, settings, Dialect.R1_ZERO, "r1_zero")[1]


def test_a_right_readable_sample_is_kept_with_its_lineage() -> None:
    [trace], dropped = keep_good([_row(GOOD)], FILTER, Dialect.R1_ZERO, "r1_zero")
    assert dropped == {}
    assert (trace.answer, trace.source["stage"], trace.source["weights_hash"]) == ("85", "r1_zero", "w")


def test_each_rule_drops_its_own_kind() -> None:
    looping = GOOD.replace("so we get 85", "so we get 85 " * 12)
    long = GOOD.replace("so we get", " ".join(f"word{chr(97 + i)}" for i in range(25)))
    assert _dropped(_row(GOOD, verdict="wrong")) == {"wrong": 1}
    assert _dropped(_row(GOOD, verdict="error")) == {"error": 1}
    assert _dropped(_row(GOOD, finish="length")) == {"truncated": 1}
    assert _dropped(_row("the answer is 85")) == {"format": 1}
    assert _dropped(_row(GOOD, language=0.9)) == {"language": 1}
    assert _dropped(_row(looping)) == {"repetition": 1}
    assert _dropped(_row(long)) == {"paragraph": 1}
    assert _dropped(_row(GOOD.replace("so we get", "```\nprint(85)\n```\nso we get"))) == {"code": 1}
    headed = _row(GOOD.replace("ones", "# Sum\nones"))
    assert _dropped(headed) == {}
    assert _dropped(headed, settings=FILTER.model_copy(update={"allow_markdown": False})) == {"markdown": 1}


def test_a_program_needs_no_box_to_be_kept() -> None:
    text = "<think> we add two numbers </think>\n\n```python\nprint(85)\n```"
    row = _row(text)
    assert keep_good([row], FILTER, Dialect.R1, "dev2")[1] == {"format": 1}
    row["prompt"]["answer_kind"] = "code"
    [trace], _ = keep_good([row], FILTER, Dialect.R1, "dev2")
    assert trace.answer == "```python\nprint(85)\n```"
    reply = first_person(trace.prompt, trace.thinking, trace.answer)
    assert (reply.summary, "boxed" in str(reply)) == (trace.answer, False)


class Two:
    """Questions that differ, as many as asked for."""

    name = "two"

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Prompt]:
        assert split == "train"
        return [replace(_prompt("en"), domain=f"d{start + i}", id="") for i in range(count)]


class Speaker:
    """Says a text of its own for each sample, tells of the last one first, and counts its calls."""

    version, weights_hash, calls = 0, "w", 0

    def follow(self, model: object, *, version: int) -> None:
        raise NotImplementedError

    def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
        self.calls += 1
        groups = [
            [replace(gold_completion(one, f"{one.domain}/{i}"), sample=i) for i in range(samples_per_prompt)]
            for one in prompts
        ]
        for said in [said for group in groups for said in group][::-1]:
            on_finished(said)
        return groups


class Ranked:
    """Right for the first of a group; several at once, in any order."""

    needs_group, workers = True, 4

    def __call__(self, asked, said):
        raise AssertionError("a group is judged whole")

    def score_group(self, asked, group):
        return [
            Score(value=1.0, verdict=Verdict.WRONG if place else Verdict.RIGHT, parts={}, notes=(said.text,))
            for place, said in enumerate(group)
        ]


def test_samples_are_judged_with_their_group_and_a_second_call_reads_them_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    context = Context(
        name="cold", seed=0, run=run, folder=run.stage("cold").create(), model=None, parents={}, observer=Silent()
    )
    speaker, settings = Speaker(), SamplingFilter(prompts=66, samples_per_prompt=3, max_new_tokens=8)
    rows = sample_chunks(context, speaker, Two(), Ranked(), settings)
    assert speaker.calls == 2  # 64 questions and 2
    assert [row["text"] for row in rows[:4]] == ["d0/0", "d0/1", "d0/2", "d1/0"]
    assert [row["verdict"] for row in rows] == ["right", "wrong", "wrong"] * 66
    assert sample_chunks(context, speaker, Two(), Ranked(), settings) == rows
    assert speaker.calls == 2


def test_surplus_and_repeated_samples_are_counted_as_surplus() -> None:
    other = GOOD.replace("ones", "the ones")
    third = GOOD.replace("ones", "our ones")
    assert _dropped(_row(GOOD), _row(GOOD)) == {"surplus": 1}
    assert _dropped(_row(GOOD), _row(other), _row(third)) == {"surplus": 1}
    few = FILTER.model_copy(update={"max_rows": 1})
    assert _dropped(_row(GOOD), _row(GOOD, question="What is 48+37?"), settings=few) == {"surplus": 1}


def _prompt(language: str) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="q"),),
        reference="85",
        gold="85",
        answer_kind=AnswerKind.NUMBER,
        domain="arithmetic",
        language=language,
    )


def test_a_rewritten_trace_is_first_person_keeps_every_step_and_ends_in_a_summary() -> None:
    reply = first_person(_prompt("en"), "ones 7+8=15 carry 1\ntens 3+4+1=8 carry 0\nso we get 85", "85")
    assert reply.thinking is not None
    assert reply.thinking.startswith("I ")
    assert "ones 7+8=15 carry 1" in reply.thinking
    assert "tens 3+4+1=8 carry 0" in reply.thinking
    assert reply.summary == "The answer is \\boxed{85}."
    again = parse(render(reply, Dialect.R1), Dialect.R1)
    assert again.is_well_formed
    assert again.reply == reply


def test_a_rewritten_chinese_trace_stays_chinese() -> None:
    reply = first_person(_prompt("zh"), "个位7+8=15进1\n所以得到85", "85")
    text = f"{reply.thinking}{reply.summary}".replace("boxed", "")
    assert not any("a" <= letter <= "z" for letter in text)


def test_the_id_of_a_row_is_its_content() -> None:
    one = make_row(_prompt("en"), "reply", {"completion": "x"})
    assert one["id"] == make_row(_prompt("en"), "reply", {"completion": "y"})["id"]
    assert one["id"] != make_row(_prompt("en"), "another", {"completion": "x"})["id"]
    assert one["messages"][-1] == {"role": "assistant", "content": "reply"}


def test_rows_come_back_whatever_line_ends_a_model_wrote(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\u0085c\x0bd\r\ne"}, {"text": "第二行"}]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
