"""The only callers of git."""
