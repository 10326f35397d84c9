"""Faults on purpose, for people who hack on fail-over. Each is a helper container, and lasts as long as it."""
