"""Runs played out in virtual time."""
