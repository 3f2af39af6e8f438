"""zero2r1: the open DeepSeek-R1 recipe, whole."""

__version__ = "0.1.0"
