"""Agents: the protocol, and one file for each backend."""
