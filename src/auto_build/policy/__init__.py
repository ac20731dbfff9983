"""What an agent may do and see. Pure."""
