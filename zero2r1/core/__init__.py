"""Floor 0: vocabulary, dialogue, config, errors, metrics, run folder, addressed randomness."""
