"""`make soak`: random commands, kills and faults against random profiles while real clients write, for hours.

`plan` draws what happens from a seed, `clients` do what users do and record it, `register` checks the record,
`session` runs one stack from `up` to `destroy`, `report` keeps the counts, and `run` is the program.
"""
