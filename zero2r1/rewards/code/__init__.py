"""Verdicts on programs. Start in `grade.py`.

The principle: a program that nobody vouches for runs in a box that gets inputs only. Expected results never enter that
box; what comes out is plain data, compared on the trusted side or by tests in a second box.
"""
