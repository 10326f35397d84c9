"""Snapshots of a stack's data: saving, listing, restoring and removing them."""
