"""Asynchronous clients of the four daemons."""
