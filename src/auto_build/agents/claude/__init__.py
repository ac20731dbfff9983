"""Claude Code, through its SDK, which is imported in `backend` only."""
