"""What `hailbox shell` understands: interpreters of command lines for cld and chunkd."""
