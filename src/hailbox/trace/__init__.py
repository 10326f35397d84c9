"""Requests between the services of a stack as they happen."""
