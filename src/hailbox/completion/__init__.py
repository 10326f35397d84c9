"""Completion of command lines for shells. It answers while a user waits, so it loads neither typer nor the engine."""
