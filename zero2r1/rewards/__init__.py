"""Verdicts: rewards that judge what a model wrote. Start in `base.py`.

No torch here and no model weights. Programs that a model wrote run in the sandbox and nowhere else.
"""
