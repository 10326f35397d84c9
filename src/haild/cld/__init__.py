"""cld: locks, small files and change events, bound to sessions (cld.md).

`service` is the heart: packets and time in, packets and changed rows out, no I/O. It stands on `files`, `locks`,
`operations`, `session` and `outgoing`. `server` runs it: `tcp` and `udp` carry packets, `store` keeps rows.
"""
