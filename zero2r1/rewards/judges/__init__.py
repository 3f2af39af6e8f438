"""Verdicts asked of a language model: is an answer right, and which of two answers is better. Start in `voice.py`."""
