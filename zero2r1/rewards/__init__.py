"""Verdicts: rewards that judge what a model wrote. Start in `base.py`.

No torch here, no model weights, and nothing that a model wrote is ever executed.
"""
