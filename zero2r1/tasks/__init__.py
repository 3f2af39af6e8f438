"""Floor 1: questions with checkable references, generated here or read from a file."""
