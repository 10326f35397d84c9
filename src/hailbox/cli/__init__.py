"""The command line: parses and renders, and nothing else."""
