"""From pinned work to a commit on staging that is green: what it must pass, and why it does not."""
