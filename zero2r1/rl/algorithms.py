"""The table of algorithms: each brand name is a row of named choices, nothing else.

A key set in a recipe wins over the row, so any mixture can be written down, and the resolved config shows every number.

    name     ratio     objective  aggregation    advantage  clip low / high   KL      more
    grpo     token     clip       sequence_mean  mean_std   10 / 10           0.001   the paper's
    dr_grpo  token     clip       constant       mean       0.2 / 0.2         0
    dapo     token     clip       token_mean     mean_std   0.2 / 0.28        0       dynamic sampling, soft overlong
    gspo     sequence  clip       sequence_mean  mean_std   3e-4 / 4e-4       0
    cispo    token     cispo      token_mean     mean_std   1 / 4             0

What it does not do: hold formulas (`rl/advantage.py`, `rl/loss.py`, `rl/batch.py`).
"""

from collections.abc import Mapping
from types import MappingProxyType

Choice = str | float | bool

GRPO: Mapping[str, Choice] = MappingProxyType(
    {
        "ratio": "token",
        "objective": "clip",
        "aggregation": "sequence_mean",
        "advantage": "mean_std",
        "clip_low": 10.0,
        "clip_high": 10.0,
        "kl_coef": 0.001,
        "dynamic_sampling": False,
        "overlong": "keep",
    }
)
"""Source: DeepSeek-R1 (arXiv 2501.12948v2) GRPO objective; clip ratio 10 and KL coefficient 0.001 of its training
details."""

ALGORITHMS: Mapping[str, Mapping[str, Choice]] = MappingProxyType(
    {
        "grpo": GRPO,
        # Source: Dr. GRPO (arXiv 2503.20783): no division by length or std, no KL term. Ours: PPO's usual clip of 0.2.
        "dr_grpo": MappingProxyType(
            {**GRPO, "aggregation": "constant", "advantage": "mean", "clip_low": 0.2, "clip_high": 0.2, "kl_coef": 0.0}
        ),
        # Source: DAPO (arXiv 2503.14476): clip-higher 0.2 / 0.28, dynamic sampling, token mean, soft overlong
        # punishment.
        "dapo": MappingProxyType(
            {
                **GRPO,
                "aggregation": "token_mean",
                "clip_low": 0.2,
                "clip_high": 0.28,
                "kl_coef": 0.0,
                "dynamic_sampling": True,
                "overlong": "soft",
            }
        ),
        # Source: GSPO (arXiv 2507.18071): sequence ratio, clip 3e-4 / 4e-4, no KL term in the objective.
        "gspo": MappingProxyType({**GRPO, "ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4, "kl_coef": 0.0}),
        # Source: CISPO in MiniMax-M1 (arXiv 2506.13585): cut weight, open lower bound, token mean, no KL term.
        # Ours: upper bound 1 + 4, as the paper prints none.
        "cispo": MappingProxyType(
            {
                **GRPO,
                "objective": "cispo",
                "aggregation": "token_mean",
                "clip_low": 1.0,
                "clip_high": 4.0,
                "kl_coef": 0.0,
            }
        ),
    }
)
