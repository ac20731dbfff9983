"""Readers of a run: they show, and change nothing."""
