"""Stacks for the test suites of other projects: a pytest plugin (`plugin`), and what it is made of."""
