"""Floor 1: networks. Loading, tiny models, tokenizers, one attention for learner and sampler, log-probabilities."""
