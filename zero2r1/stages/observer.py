"""Who watches a run: the command line, a test, or nobody. No torch here, so that the front door stays light."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Observer(Protocol):
    """Someone who watches a run. Nothing it does can change the run."""

    def stage_started(self, name: str, kind: str, reason: str) -> None: ...

    def update(self, stage: str, step: int, total: int, metrics: Mapping[str, object]) -> None: ...

    def stage_finished(self, name: str, row: Mapping[str, object]) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """An observer that looks away: for tests and for library use."""

    def stage_started(self, name: str, kind: str, reason: str) -> None: ...

    def update(self, stage: str, step: int, total: int, metrics: Mapping[str, object]) -> None: ...

    def stage_finished(self, name: str, row: Mapping[str, object]) -> None: ...

    def note(self, text: str) -> None: ...
