"""How fast a stack is: its services under load, each through its own protocol (`hailbox bench`)."""
