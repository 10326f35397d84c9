"""Fuzzing by bytes: see README.md. A package, so that its modules hide none of the scripts' by their names."""
