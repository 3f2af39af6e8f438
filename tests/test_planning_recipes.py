"""Plans of whole recipes: every shipped one, what is missing, the lever, and the comparison with the clock."""

import json
from pathlib import Path

import pytest

from zero2r1 import recipes
from zero2r1.cli import main
from zero2r1.core.errors import ConfigError, ModelError
from zero2r1.learner.checkpoint import save_checkpoint
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.models.tiny import TinyConfig, make_tiny
from zero2r1.models.tokenizer import make_tokenizer
from zero2r1.pipeline.planning import estimate, shapes, storage, texts, workload
from zero2r1.pipeline.planning import measure as measuring
from zero2r1.pipeline.planning.hardware import parse_gpus
from zero2r1.pipeline.planning.measure import Compared, is_within
from zero2r1.pipeline.planning.planner import Workshop, make_plan, parse_configs
from zero2r1.rl.config import RLConfig
from zero2r1.sft.data import Example, to_batch
from zero2r1.sft.loss import cross_entropy
from zero2r1.stages import traces
from zero2r1.stages.config import ZeroRLStage

V3 = {"model_type": "deepseek_v3", "auto_map": {"AutoConfig": "x.Y"}, "quantization_config": {"quant_method": "fp8"}}
QWEN_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, Path]:
    """config.json of the two models of the paper's recipes."""
    found = {}
    for source, content in (("", V3), ("Qwen/Qwen2.5-Math-7B", QWEN_7B)):
        found[source] = tmp_path / f"config{len(found)}.json"
        found[source].write_text(json.dumps(content))
    return found


def test_the_stages_chunk_of_prompts_is_known():
    assert workload.CHUNK_PROMPTS == traces.CHUNK_PROMPTS


def test_a_saved_checkpoint_is_as_large_as_planned(tmp_path: Path):
    tokenizer = make_tokenizer(["one two three four five six"] * 9, vocab_size=320)
    tiny = TinyConfig(vocab_size=320)
    model = make_tiny(tiny, tokenizer, seed=0)
    learner = Learner(model, LearnerConfig(), total_steps=2)
    learner.step(to_batch([Example(token_ids=(1, 2, 3), loss_mask=(False, True, True))]), cross_entropy)
    folder = save_checkpoint(
        tmp_path, 1, learner=learner, tokenizer=tokenizer, reference=snapshot(model), state={}, keep=1
    )
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shape = shapes.shape_of(shapes.tiny_config(tiny, len(tokenizer)), "tiny")
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    planned = storage.checkpoint_bytes(
        shape.parameters, shape.tensors, "float32", has_reference=True, tokenizer=texts.saved_bytes(tokenizer)
    )
    assert planned == pytest.approx(written, rel=0.01)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_plan_for_accelerators(name: str, configs: dict[str, Path]):
    recipe = recipes.load(name)
    if recipe.model is not None and recipe.model.source == "smollm2-135m":
        small = QWEN_7B | {"num_hidden_layers": 2}
        configs[""].write_text(json.dumps(small))
    plan = make_plan(recipe, cluster=parse_gpus("8xH100-80"), configs=configs, response=100, price=2.0)
    assert {stage.name for stage in plan.stages} == set(recipe.stages)
    assert all(stage.seconds > 0 and stage.peak > 0 and sum(stage.disk.values()) > 0 for stage in plan.stages)
    assert plan.hours == pytest.approx(8 * plan.seconds / 3600)
    assert plan.dollars == pytest.approx(2 * plan.hours)
    assert 0 < plan.saves < 1


def test_the_paper_s_counts(configs: dict[str, Path]):
    plan = make_plan(recipes.load("paper-r1"), cluster=parse_gpus("512xH800-80"), configs=configs, response=8000)
    by_name = {stage.name: stage for stage in plan.stages}
    assert by_name["r1_zero"].updates == 10_400
    # 4,096 rows of 128, twice; 600,000 + 200,000 rows of 128, twice; the student takes them by 64.
    assert [by_name[name].updates for name in ("dev1", "dev3", "student")] == [64, 12_500, 25_000]
    assert by_name["student"].parameters == 7_615_616_512
    assert by_name["student"].model == "Qwen/Qwen2.5-Math-7B"
    assert any("four bytes" in note for note in by_name["r1_zero"].notes)
    assert any("lower learner.micro_tokens" in note for note in by_name["r1_zero"].notes)


def test_a_model_that_is_not_here_is_named(configs: dict[str, Path]):
    recipe = recipes.load("paper-r1")
    with pytest.raises(ModelError) as caught:
        make_plan(recipe, cluster=parse_gpus("H100-80"))
    assert caught.value.code == "Z200"
    assert "--model-config deepseek-ai/DeepSeek-V3-Base=config.json" in caught.value.fix
    plan = make_plan(recipe, cluster=parse_gpus("H100-80"), configs={"": configs[""]}, response=10)
    assert list(plan.missing) == ["student"]
    assert "Qwen/Qwen2.5-Math-7B" in plan.missing["student"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_type": "no_such"}', '{"model_type": 3}', "\0"])
def test_a_file_that_is_no_config_is_an_error(tmp_path: Path, content: str):
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(ModelError) as caught:
        shapes.shape_of(shapes.read_config(file), "x")
    assert caught.value.code == "Z200"


def test_config_files_are_named_by_source(tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text("{}")
    assert parse_configs([str(file), f"org/name={file}"]) == {"": file, "org/name": file}
    with pytest.raises(ConfigError) as caught:
        parse_configs(["org/name=nowhere.json"])
    assert caught.value.code == "Z110"


def test_the_mean_cap_weighs_by_updates():
    # 8,200 of 10,400 updates at 32,768, 2,200 at 65,536: (268,697,600 + 144,179,200) / 10,400 = 39,699.7.
    assert workload.mean_cap(RLConfig()) == 39_700
    assert workload.mean_cap(RLConfig(steps=100)) == 32_768


def test_rows_that_may_be_kept():
    assert workload.kept_rows(100, 2, None) == 200
    assert workload.kept_rows(100, 2, 150) == 150


def test_the_lever_is_the_change_that_saves_most():
    costs = {"response": 60.0, "samples": 50.0, "questions": 90.0, "kl": 80.0}
    lever, saves = estimate.biggest_lever(100.0, lambda change: costs[next(iter(change))])
    assert (lever, saves) == ("half of samples_per_prompt", 0.5)


def test_a_step_that_is_further_off_than_allowed_fails():
    def row(what: str, predicted: float) -> Compared:
        return Compared(stage="a", what=what, predicted=predicted, measured=100.0)

    assert is_within([row("step", 114.0), row("memory", 86.0), row("rollout", 300.0)])
    assert not is_within([row("step", 116.0)])
    assert not is_within([row("memory", 84.0)])


@pytest.mark.parametrize(
    ("drifts", "chosen"), [([0.05], 0.05), ([0.4, 0.1], 0.1), ([0.4, 0.2, 0.3], 0.2)], ids=["steady", "later", "never"]
)
def test_a_machine_that_drifts_is_measured_again(
    drifts: list[float], chosen: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    said = iter(drifts)

    def attempt(*_: object) -> list[Compared]:
        return [Compared(stage="dev1", what="step", predicted=1.0, measured=2.0, drift=next(said))]

    monkeypatch.setattr(measuring, "_try", attempt)
    recipe = recipes.load("tiny")
    stage = estimate.StagePlan(
        name="dev1", kind="cold_start", model="tiny", parameters=0, active=0, updates=1, response=1, slots=1,
        update={"update": 1.0}, total={}, memory={}, peak=0, disk={},
    )  # fmt: skip
    (row,) = measuring.measure(recipe, Workshop(recipe=recipe), [stage], tmp_path)
    assert (row.drift, list(said)) == (chosen, [])


def test_rules_take_time_and_workers_do_not():
    def seconds(**task: object) -> float:
        stage = ZeroRLStage.model_validate({"tasks": [task]})
        return texts.texts_of(stage, None, seed=0).judge_s

    assert 0 < seconds(family="arithmetic") < 0.1
    assert seconds(family="code_function") == 0


def test_the_verb_plans_this_machine(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "micro", "--json", "--price", "1.5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {stage["name"] for stage in told["stages"]} == set(recipes.load("micro").stages)
    assert told["machine"]["flops"] > 0
    assert told["measured"] == []
    assert told["cost"] == pytest.approx(1.5 * told["machine_hours"])


def test_the_verb_plans_accelerators_for_people(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "micro", "--gpus", "2xA100-80"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("2 x A100-80", "assumed:", "biggest lever", "upper bounds"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["micro", "--gpus", "8xNONE"], "Z110"),
        (["micro", "--gpus", "H100-80", "--measure"], "Z110"),
        (["micro", "--model-config", "nowhere.json"], "Z110"),
        (["no-such-recipe"], "Z112"),
        (["paper-r1", "--gpus", "H100-80"], "Z200"),
    ],
)
def test_what_cannot_be_planned_is_an_error(words: list[str], code: str, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


@pytest.mark.slow
def test_the_plan_is_compared_with_the_clock(capsys: pytest.CaptureFixture[str]):
    """That it runs and what it tells of; how near it comes is `benchmarks/planner.py`'s to say, on a quiet machine."""
    code = main(["plan", "micro", "--measure", "--json"])
    told = json.loads(capsys.readouterr().out)["measured"]
    assert {row["what"] for row in told} == {"train", "step", "rollout", "memory"}
    assert all(row["measured"] > 0 and row["predicted"] > 0 for row in told)
    far = any(abs(row["distance"]) > 0.15 for row in told if row["what"] in ("step", "memory"))
    assert code == int(far)
