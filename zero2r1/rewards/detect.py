"""Languages that share a script, told apart word by word: English and German, Russian and Ukrainian.

The naive Bayes model of `py3langid` scores each word under each language; the path through the words that scores best
when a change of language costs `SWITCH_NATS` is taken (Viterbi). So a switch inside a sentence is seen, while one odd
word or a short text stays in the target language, which its script allows. Chinese and Japanese have no spaces; there
a run of Han characters is decided as a whole.

What it does not do: find the language of a text of which nothing is known (the candidates are given), tell closely
related languages apart by a few words, or go online. The model is loaded at the first word that needs it, which takes
about half a second and 100 MB, and never for languages of different scripts.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from zero2r1.rewards.words import ALPHABETS, CHARACTERS

SWITCH_NATS = 8.0
"""What a change of language costs in log-likelihood. Ours: one word rarely tells languages apart by more."""
CHINESE_NATS = 3.0
"""Gap per character above which Han without kana is Chinese, not Japanese. Ours: the model takes every run of Han for
Chinese; compounds such as 二次方程式 by 1 to 2 nats a character, Chinese clauses by 3 to 6."""
MIN_HAN_RUN = 6
"""Shorter runs of Han characters in a Japanese text are Japanese. Ours: compounds are short."""
MAX_CACHED = 50_000
"""Words whose scores are kept. Ours: some 10 MB."""
NO_EVIDENCE = -1e30
"""Scores below this are the model's sign that it knows no part of a word."""


@runtime_checkable
class _Ranks(Protocol):
    """The part of the model that is used here."""

    def rank(self, text: str) -> list[tuple[str, float]]: ...


class LanguageDetector:
    """Says which of the candidate languages each word is in. Usable from any thread; the same words, the same answer.

    Args:
        languages: ISO 639-1 codes, keys of `scripts`, those that a run may mix. Fewer are safer.
        scripts: the scripts of each language.

    Raises:
        KeyError: a language has no known script.
    """

    def __init__(self, languages: Collection[str], scripts: Mapping[str, tuple[str, ...]]) -> None:
        written = {language: set(scripts[language]) for language in sorted(languages)}
        self._rivals = {
            language: tuple(other for other in written if other != language and written[other] & written[language])
            for language in written
        }
        self._scripts = {language: tuple(scripts[language]) for language in written}
        self._model: _Ranks | None = None
        self._lock = threading.Lock()
        self._cache: dict[str, dict[str, float]] = {}

    def rivals(self, language: str) -> tuple[str, ...]:
        """The other candidates that share a script with `language`; none when its script decides."""
        return self._rivals.get(language, ())

    def num_foreign_words(self, text: str, language: str) -> float:
        """Words of a text that are written in a script of `language` and are of another candidate.

        Args:
            text: prose (see `words.prose`).
            language: the target.

        Returns:
            words, counted as `words.count_scripts` does; 0 when the script decides.

        Ours: the paper does not say how it tells words of two languages apart.
        """
        if not self.rivals(language):
            return 0.0
        foreign = 0.0
        for script in self._scripts[language]:
            if script in ALPHABETS:
                words = ALPHABETS[script].findall(text)
                foreign += sum(label != language for label in self.label(words, language))
            elif script == "han" and language == "ja":
                runs = CHARACTERS["han"][0].findall(text)
                foreign += sum(len(run) for run in runs if self._is_chinese(run)) / CHARACTERS["han"][1]
        return foreign

    def label(self, words: Sequence[str], language: str) -> list[str]:
        """[n] the language of each of n words in order: `language` or one of its rivals.

            best path = argmax sum_i log p(word_i | language_i) - SWITCH_NATS * changes of language

        The path begins in `language`, so text too short to pay for a change is the target's.

        Ours: Viterbi over a naive Bayes model; see the head of this file.
        """
        candidates = (language, *self.rivals(language))
        total = {name: 0.0 if name == language else -SWITCH_NATS for name in candidates}
        came_from: list[dict[str, str]] = []
        for word in words:
            best = max(candidates, key=total.__getitem__)
            back = {name: name if total[name] >= total[best] - SWITCH_NATS else best for name in candidates}
            evidence = self._evidence(word)
            total = {
                name: total[back[name]] - (SWITCH_NATS if back[name] != name else 0.0) + evidence.get(name, 0.0)
                for name in candidates
            }
            came_from.append(back)
        labels: list[str] = []
        name = max(candidates, key=total.__getitem__)
        for back in reversed(came_from):
            labels.append(name)
            name = back[name]
        return labels[::-1]

    def _is_chinese(self, run: str) -> bool:
        if len(run) < MIN_HAN_RUN or "zh" not in self.rivals("ja"):
            return False
        evidence = self._evidence(run)
        return evidence.get("zh", 0.0) - evidence.get("ja", 0.0) > CHINESE_NATS * len(run)

    def _evidence(self, word: str) -> dict[str, float]:
        """Log-likelihood of a word under each candidate up to a constant, in nats; 0 for all when nothing is known."""
        found = self._cache.get(word)
        if found is None:
            ranked = dict(self._loaded().rank(f" {word} "))
            known = {name: ranked.get(name, NO_EVIDENCE) for name in self._rivals}
            least = min((score for score in known.values() if score > NO_EVIDENCE), default=0.0)
            found = {name: score if score > NO_EVIDENCE else least for name, score in known.items()}
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[word] = found
        return found

    def _loaded(self) -> _Ranks:
        with self._lock:
            if self._model is None:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                model = LanguageIdentifier.from_model_file(MODEL_FILE)
                model.set_languages({name for name, rivals in self._rivals.items() if rivals})
                self._model = model
            return self._model
