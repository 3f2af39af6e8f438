"""Supervised fine-tuning: rows from dialogues, cross entropy, one pass after another."""
