"""Runs programs that nobody vouches for: limits, isolation, and an honest account of how each run ended."""
