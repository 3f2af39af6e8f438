"""The page and its Markdown twin: self-contained, accessible, and deaf to what models write."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from report_world import ASKED, STAGES, result, rl_metrics, sample, write_json, write_rows, write_run

from zero2r1.report import write
from zero2r1.report.charts import Curve, axis, line_chart, nice_step, smoothed, thinned, tick
from zero2r1.report.markdown import fenced, inline

HOSTILE = (
    "</pre></details></style></title>--><script>alert(1)</script><img src=x onerror=alert(2)>"
    "'\"{{7*7}}\u202e\x00```\n# head"
)
OUR_TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style body header nav main footer section h1 h2 h3 p a b dl div dt dd span small br "
        "table caption thead tbody tr th td figure figcaption details summary pre code progress ul li svg line text "
        "rect circle polygon polyline path",
    )
)


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside of style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    handle_startendtag = handle_starttag


def page_of(run) -> tuple[str, Page, str]:
    html, markdown = write(run)
    text = html.read_text(encoding="utf-8")
    return text, Page(text), markdown.read_text(encoding="utf-8")


def assert_harmless(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= OUR_TAGS
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert (attributes.get("href") or "#").startswith("#")


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_the_page_is_one_file_that_asks_for_nothing(run):
    text, page, _ = page_of(run)
    assert_harmless(page)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


def test_the_page_has_all_its_parts(run):
    text, page, markdown = page_of(run)
    assert {"claims", "stages", "curves", "samples", "time", "settings"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    for part in ("6 of 6 claims hold", "60.0\u00a0%", "cons@16", "Groups without a signal", "Sampler–learner gap",
                 "Reflective words", "37 + 48 = ?", "三加三等于几？", "dev2 thinks about it", "torch", "key-dev3",
                 "n = 40 questions × k = 16 samples", "temperature 0.6", "rollout 0:30"):  # fmt: skip
        assert part in text, part
    for part in ("6 of 6", "holds", "cons@16", "dev2 thinks about it", "Sampler–learner gap", "37 + 48 = ?"):
        assert part in markdown, part


def test_every_picture_has_a_text_alternative(run):
    _, page, _ = page_of(run)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) > 40
    for attributes in pictures:
        assert attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and attributes["aria-label"])
    bars = [attributes for tag, attributes in page.tags if tag == "progress"]
    assert bars
    assert all(attributes["aria-label"] for attributes in bars)


def test_every_picture_is_well_formed(run):
    text, _, _ = page_of(run)
    for picture in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(picture)


def test_what_a_model_writes_never_becomes_markup(run):
    parts = {HOSTILE: 1.0}
    for name, _, _ in STAGES:
        rows = [
            sample(name, asked[0], HOSTILE, HOSTILE, HOSTILE, HOSTILE, text=HOSTILE + "x" * 9000, answer=HOSTILE,
                   verdict=HOSTILE, parts=parts, notes=[HOSTILE], finish=HOSTILE)
            for asked in ASKED
        ]  # fmt: skip
        write_rows(run / "stages" / name / "evals" / "test.samples.jsonl", rows)
        changed = result(name, template_hash=HOSTILE, k=HOSTILE, temperature=HOSTILE, split=HOSTILE)
        write_json(run / "stages" / name / "evals" / "test.json", changed)
    metrics = [{**row, f"reward/{HOSTILE.replace('/', '')}/mean": 1.0} for row in rl_metrics(5)]
    write_rows(run / "stages" / "r1_zero" / "metrics.jsonl", metrics)
    write_rows(run / "stages" / "r1_zero" / "timings.jsonl", [{"step": 1, f"time/{HOSTILE}": 1.0}])
    for rollout in (run / "stages" / "r1_zero" / "rollouts").iterdir():
        write_rows(rollout, [{**sample("r1_zero", *ASKED[0]), "text": HOSTILE, "prompt": HOSTILE, "rewards": parts}])
    manifest = json.loads((run / "stages" / "base" / "manifest.json").read_text())
    changed = {**manifest, "kind": HOSTILE, "key": HOSTILE, "parents": {HOSTILE: HOSTILE}}
    write_json(run / "stages" / "base" / "manifest.json", changed)
    write_json(run / "env.json", {"python": HOSTILE, "versions": {HOSTILE: HOSTILE}})
    write_json(run / "status.json", {"state": HOSTILE})
    recipe = yaml.safe_load((run / "config.resolved.yaml").read_text())
    harmless_name = HOSTILE.replace("\x00", "")
    (run / "config.resolved.yaml").write_text(
        yaml.safe_dump({**recipe, "name": harmless_name, "description": harmless_name, "seed": harmless_name})
    )
    (run / "cmd.txt").write_text(HOSTILE)
    text, page, markdown = page_of(run)
    assert_harmless(page)
    assert "<script" not in text
    assert text.count("{{7*7}}") > 20
    assert text.count("&lt;script&gt;") > 20
    assert "\u202e" not in text + markdown
    assert "\x00" not in text + markdown
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "<" not in outside
    assert not re.search(r"^# head", outside, flags=re.MULTILINE)


def test_lone_surrogates_do_not_stop_the_report(run):
    row = sample("base", *ASKED[0], text="\ud800 and \udfff")
    write_rows(run / "stages" / "base" / "evals" / "test.samples.jsonl", [row])
    assert "⟨U+D800⟩" in page_of(run)[0]


def test_a_long_text_is_cut_and_says_so(run):
    row = sample("base", *ASKED[0], text="wait " * 20_000)
    write_rows(run / "stages" / "base" / "evals" / "test.samples.jsonl", [row])
    text, _, markdown = page_of(run)
    assert "96000 more characters" in text
    assert "96000 more characters" in markdown
    assert len(text) < 400_000


def test_the_same_folder_gives_the_same_page(run):
    assert page_of(run)[0] == page_of(run)[0]


def test_errors_of_the_verifier_are_told(run):
    write_json(run / "stages" / "dev1" / "evals" / "test.json", result("dev1", num_errors=12))
    assert "dev1: 12 samples could not be judged" in page_of(run)[0]


def test_the_samples_are_not_chosen_by_outcome(run):
    rows = [sample("base", index, "en", "arithmetic", f"question {index}", "1", verdict="wrong") for index in range(5)]
    rows[3]["verdict"] = "right"
    write_rows(run / "stages" / "base" / "evals" / "test.samples.jsonl", rows)
    text, _, _ = page_of(run)
    assert "question 0" in text
    assert "question 3" not in text


VALUES = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(VALUES, min_size=1, max_size=50), min_size=1, max_size=4), st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_finite_curve_can_be_drawn_inside_its_frame(lines, is_share):
    curves = [
        Curve(label=f"<{index}>", points=tuple((float(step), value) for step, value in enumerate(line)))
        for index, line in enumerate(lines)
    ]
    picture = ElementTree.fromstring(str(line_chart(curves, title="a & b", unit="nats", is_share=is_share)))
    for line in picture.iter("polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 320
            assert 0 <= y <= 168


@given(st.lists(VALUES, min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_an_axis_ends_on_its_lines_and_holds_its_values(values):
    low, high, step = axis(values)
    assert low < high
    assert 1 <= round((high - low) / step) <= 6
    assert (high - low) / step == pytest.approx(round((high - low) / step))
    for value in values:
        assert low - step / 1e6 <= min(max(value, -1e30), 1e30) <= high + step / 1e6


@pytest.mark.parametrize(
    ("raw", "step"), [(0.3, 0.5), (1.0, 1.0), (2.1, 2.5), (26.0, 50.0), (7.0, 10.0), (0.0021, 0.0025)]
)
def test_axis_steps_are_nice(raw, step):
    assert nice_step(raw) == pytest.approx(step)


def test_tick_labels_are_short():
    assert [tick(value) for value in (0.0, 0.25, 1500.0, 12_000.0, 3e-6, -2.0)] == [
        "0",
        "0.25",
        "1500",
        "12k",
        "3e-06",
        "-2",
    ]


def test_thinning_keeps_the_mean_and_smoothing_keeps_a_constant():
    points = [(float(step), float(step % 7)) for step in range(700)]
    thin = thinned(points, limit=100)
    assert len(thin) == 100
    assert sum(value for _, value in thin) / 100 == pytest.approx(3.0)  # mean of 0..6
    constant = [(float(step), 2.5) for step in range(50)]
    assert smoothed(constant) == tuple(constant)


def test_markdown_cells_and_fences_cannot_be_broken_out_of():
    assert inline("a|b\n<b> `x` [y](z) *w*") == r"a\|b &lt;b&gt; \`x\` \[y\](z) \*w\*"
    assert fenced("```\nx````") == "`````text\n```\nx````\n`````"
