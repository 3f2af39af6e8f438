"""Floor 5: the sections of the papers as stages, each with the paper's numbers."""
