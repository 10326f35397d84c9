"""What tabled knows about users, buckets, objects and the places of their bodies."""
