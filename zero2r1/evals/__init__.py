"""Measurement: how often a policy is right, and how readable what it says is, with intervals.

Does not train, draw or print. `metrics` holds the formulas, `reading` what can be seen in one text, `run` the loop,
`result` what an evaluation leaves on disk.
"""
