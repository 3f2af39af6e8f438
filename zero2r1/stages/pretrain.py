"""A tiny base model: tokenizer and weights made here, trained on a noisy bilingual corpus.

It stands in for DeepSeek-V3-Base where no base model can be had. Like that model's web data, the corpus holds reasoning
good and bad, in two languages and sometimes in both at once, with and without the tags. Unlike it, it already shows the
R1-Zero prompt: a network of a million parameters cannot follow an instruction it has never seen.

Deviation from the paper: the paper pre-trains on 14.8 T tokens and shows no template; nothing measured from this base
says how well RL works on a real one.
"""

from collections.abc import Iterator, Mapping

from zero2r1.core.dialogue import R1_ZERO_AFTER, R1_ZERO_BEFORE, Dialect
from zero2r1.core.errors import ConfigError
from zero2r1.core.random import key
from zero2r1.learner.learner import Learner
from zero2r1.models.load import set_template
from zero2r1.models.tiny import make_tiny
from zero2r1.models.tokenizer import make_tokenizer
from zero2r1.sft.data import encode_all, to_batch
from zero2r1.sft.loss import cross_entropy
from zero2r1.stages.config import PretrainStage
from zero2r1.stages.context import Context
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.supervised import fit
from zero2r1.tasks.base import make_task
from zero2r1.tasks.corpus import Document, documents


def run(context: Context, stage: PretrainStage) -> Outcome:
    """Make the tokenizer, the network and the corpus, and train."""
    shape = context.model.tiny if context.model else None
    if shape is None:
        raise ConfigError(
            "Z110", f"stage '{context.name}' pretrains a tiny model", why="its 'model' has no 'tiny' section"
        )
    task = make_task(stage.tasks, seed=context.seed)

    def corpus(count: int, start: int) -> list[Document]:
        return documents(task, stage.corpus, count=count, start=start, seed=context.seed)

    vocabulary = [turn.content for document in corpus(stage.vocab_documents, 0) for turn in document.messages]
    tokenizer = make_tokenizer(vocabulary, vocab_size=shape.vocab_size, whole=(R1_ZERO_BEFORE, R1_ZERO_AFTER))
    set_template(tokenizer, Dialect.R1_ZERO)
    model = make_tiny(shape, tokenizer, seed=key(context.address("init", 0))).to(context.device)

    def updates(learner: Learner, start: int) -> Iterator[Mapping[str, float]]:
        for step in range(start, stage.steps):
            made = corpus(stage.batch_documents, step * stage.batch_documents)
            examples = encode_all((document.messages for document in made), tokenizer, loss_on=stage.loss_on).examples
            yield learner.step(to_batch(examples), cross_entropy)

    learner = fit(
        context, model, tokenizer, learner_config=stage.learner, save=stage.save, steps=stage.steps, updates=updates
    )
    return Outcome(model=learner.model, tokenizer=tokenizer, dialect=Dialect.R1_ZERO, updates=stage.steps)
