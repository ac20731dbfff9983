"""Tries the finished build: commands, HTTP requests and pages, with its services started."""
