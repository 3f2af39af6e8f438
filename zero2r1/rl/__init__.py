"""GRPO and its relatives, spelled out as named choices."""
