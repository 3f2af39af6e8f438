"""A model that changes: one blind `step(batch, loss)` for SFT, RL and distillation, and exact checkpoints."""
