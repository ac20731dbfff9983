"""Carries out commands."""
