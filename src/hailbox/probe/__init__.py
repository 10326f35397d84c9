"""Whether a service works: a round trip through its real function that leaves nothing visible behind."""
