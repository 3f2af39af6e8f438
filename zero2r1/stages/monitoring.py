"""Watching a stage of reinforcement learning for reward hacking while it runs.

Three looks, none of which changes a reward or an update: a second, independent verifier on a sample of each rollout;
the share of answers that reach for the grader or hold no computation; and a few held-out questions every so many
updates, so that a reward that rises alone is seen. What they find goes into the metrics; disagreements also into the
events, with the ids of the rows. The rules that turn figures into warnings are in `rl/monitors.py` and `cli/health.py`.

Deviations: the paper reports reward hacking and names no monitor; all of this is ours.
"""

from collections.abc import Mapping, Sequence

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import DataError
from zero2r1.core.types import AnswerKind, Prompt, Reward, Task, Verdict
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rewards.beside import Beside
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Update
from zero2r1.rl.monitors import no_computation_frac, sample_rows, second_opinions, suspicious_counts, suspicious_frac
from zero2r1.stages.config import MonitorConfig
from zero2r1.stages.context import Context

NAMED_ROWS = 5
"""Disagreements told of in one event."""
SPLIT = "validation"


class Monitor:
    """Looks at the updates of one stage.

    Args:
        context: where events go, and the source of its random numbers.
        policy: the sampler, asked the held-out questions.
        task: has the held-out questions.
        reward: judges them.
    """

    def __init__(
        self,
        context: Context,
        config: MonitorConfig,
        rl: RLConfig,
        *,
        policy: Policy,
        task: Task,
        reward: Reward,
        dialect: Dialect,
    ) -> None:
        self.context, self.config, self.rl = context, config, rl
        self._policy, self._reward, self._dialect = policy, reward, dialect
        self._heldout = self._questions(task)

    def look(self, update: Update) -> dict[str, float]:
        """The figures of one update: `monitor/*` on the first of a rollout, `heldout/accuracy` when it is due."""
        figures: dict[str, float] = {}
        if update.rows:
            figures |= self._rows(update)
        if self._heldout and update.is_rollout_end and self._is_due(update):
            figures |= self._ask(update.step)
        return figures

    def _rows(self, update: Update) -> dict[str, float]:
        texts = [row.scored.completion.text for row in update.rows]
        figures = {"monitor/suspicious_frac": suspicious_frac(texts)}
        if figures["monitor/suspicious_frac"]:
            self.context.folder.events.append("suspicious", step=update.step, patterns=suspicious_counts(texts))
        idle = no_computation_frac(update.rows)
        if idle is not None:
            figures["monitor/no_computation_frac"] = idle
        if self.config.second_verifier_rows:
            address = self.context.address("monitor", update.step)
            rows = sample_rows(update.rows, self.config.second_verifier_rows, address)
            judged, differing = second_opinions(rows, self._dialect)
            figures |= judged
            if differing:
                named: list[Mapping[str, str]] = [
                    {"id": case.completion, "prompt_id": case.prompt, "first": case.first, "second": case.second}
                    for case in differing[:NAMED_ROWS]
                ]
                self.context.folder.events.append(
                    "verifiers_disagree", code="Z324", step=update.step, count=len(differing), rows=named
                )
        return figures

    def _is_due(self, update: Update) -> bool:
        """True when the rollout that ends here has passed a multiple of `heldout_every`."""
        every = self.config.heldout_every
        return update.step // every > (update.step - self.rl.minibatches) // every

    def _ask(self, step: int) -> dict[str, float]:
        sampling = Sampling(temperature=self.rl.temperature, max_new_tokens=self.rl.cap_at(step), stop=self.rl.stop)
        with Beside(self._reward, self._heldout, 1) as judge:
            groups = self._policy.sample(
                self._heldout,
                1,
                sampling=sampling,
                address=self.context.address("heldout", step),
                on_finished=judge.take,
            )
            scores = [score for group in judge.gather(groups) for score in group]
        judged = [score.verdict is Verdict.RIGHT for score in scores if score.verdict is not Verdict.ERROR]
        return {"heldout/accuracy": sum(judged) / len(judged)} if judged else {}

    def _questions(self, task: Task) -> Sequence[Prompt]:
        """The held-out questions that have an answer; none, and a note, when the task keeps none."""
        if not self.config.heldout_questions:
            return ()
        try:
            prompts = task.draw(self.config.heldout_questions, split=SPLIT)
        except (DataError, ValueError) as problem:
            self.context.report("no_heldout_questions", why=str(problem).splitlines()[0])
            return ()
        return [prompt for prompt in prompts if prompt.answer_kind is not AnswerKind.NONE]
