"""What a stage hands back to the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.dialogue import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trained model, before it is saved and measured."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dialect: Dialect
    """The reply grammar the model now speaks: evaluation uses it."""
    updates: int
    """Parameter updates of the stage."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """More for the manifest, e.g. rows kept and dropped by reason."""
