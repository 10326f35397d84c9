"""The verbs: plain functions that return typed results; they never print and never exit."""
