"""Plans and specifications, drafted by an agent that reads the repository."""
