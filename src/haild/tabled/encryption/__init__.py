"""Encryption of bodies before they leave tabled, and the keys for it (docs/daemons/tabled.md, "Encryption")."""
