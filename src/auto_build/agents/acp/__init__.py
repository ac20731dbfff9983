"""Agents that speak the Agent Client Protocol; its SDK is imported in `backend` only."""
