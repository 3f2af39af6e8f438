"""Floor 2: a model that speaks. The policy protocol and the built-in engine."""
