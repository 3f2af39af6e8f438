"""Probes of language mixing: each mixed text ranks below its pure twin, and pure texts keep their reward."""

import json
from pathlib import Path

import pytest

from zero2r1.rewards.detect import LanguageDetector
from zero2r1.rewards.language import SCRIPTS, language_share, make_detector

PROBES = [
    json.loads(line)
    for line in (Path(__file__).parent / "golden" / "code_switching.jsonl").read_text(encoding="utf-8").splitlines()
]


def share(probe: dict, which: str, detector: LanguageDetector | None) -> float:
    found = language_share(probe[which], probe["language"], question=probe["question"], detector=detector)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shares() -> list[tuple[str, float, float]]:
    detectors = {tuple(probe["candidates"]): make_detector(*probe["candidates"]) for probe in PROBES}
    found = []
    for probe in PROBES:
        detector = detectors[tuple(probe["candidates"])]
        found.append((probe["language"], share(probe, "pure", detector), share(probe, "mixed", detector)))
    return found


def test_the_probes_are_those_they_claim_to_be():
    assert len(PROBES) >= 70
    english_chinese = [probe for probe in PROBES[:50] if set(probe["candidates"]) == {"en", "zh"}]
    assert len(english_chinese) == 50
    assert sum(probe["language"] == "zh" for probe in english_chinese) == 25
    assert all(probe["pure"] != probe["mixed"] for probe in PROBES)


def test_script_tells_the_first_fifty_without_a_model():
    assert make_detector("en", "zh") is None
    assert make_detector("en", "ko") is None


def test_mixing_costs_reward(shares):
    assert sum(mixed < pure for _, pure, mixed in shares[:50]) >= 48
    assert [place for place, (_, pure, mixed) in enumerate(shares) if mixed >= pure] == []


def test_pure_texts_lose_nothing(shares):
    assert sum(pure for _, pure, _ in shares) / len(shares) >= 0.98
    assert min(pure for _, pure, _ in shares) >= 0.9


def test_without_a_detector_one_script_hides_the_switch():
    french_in_english = next(probe for probe in PROBES if probe["candidates"] == ["en", "fr", "de", "es"])
    assert share(french_in_english, "mixed", None) == 1.0


def test_a_switch_is_found_word_by_word_and_back_again():
    detector = LanguageDetector(("en", "de"), SCRIPTS)
    text = "Wir addieren zuerst die Einer und then we carry the one to the tens danach addieren wir die Zehner"
    words = text.split()
    labels = detector.label(words, "de")
    assert labels[:6] == ["de"] * 6
    assert labels[6:12] == ["en"] * 6  # "the" alone says nothing to the model, so the border may fall one word early
    assert labels[-4:] == ["de"] * 4


def test_a_short_text_is_in_the_target_language():
    # one word does not pay for a change of 8 nats
    detector = LanguageDetector(("en", "de", "fr"), SCRIPTS)
    assert language_share("total", "en", detector=detector) == 1.0
    assert language_share("total", "fr", detector=detector) == 1.0
    assert detector.label([], "en") == []


def test_a_whole_text_of_the_wrong_language_has_no_share():
    detector = make_detector("en", "fr")
    text = "Nous cherchons le plus petit multiple commun, donc nous écrivons les multiples de quatre et de six."
    assert language_share(text, "en", detector=detector) == pytest.approx(0.0, abs=0.1)
    assert language_share(text, "fr", detector=detector) == 1.0


def test_the_same_text_gets_the_same_share_whatever_was_asked_before():
    texts = [probe["mixed"] for probe in PROBES[50:62]]
    first, second = (LanguageDetector(("en", "fr", "de", "es"), SCRIPTS) for _ in range(2))
    forward = [language_share(text, "en", detector=first) for text in texts]
    backward = [language_share(text, "en", detector=second) for text in reversed(texts)]
    assert forward == backward[::-1]


def test_languages_of_different_scripts_load_no_model():
    detector = LanguageDetector(("en", "zh", "ru"), SCRIPTS)
    assert language_share("We add the ones", "en", detector=detector) == 1.0
    assert detector._model is None


def test_an_unknown_candidate_is_refused():
    with pytest.raises(KeyError):
        make_detector("en", "xx")
