"""What runs inside the helper container of a fault: standard library only, and nothing else of hailbox.

Each fault is in effect exactly as long as its agent runs; where the kernel allows it, bound to the process, so that
it ends even if the agent is killed.
"""
