"""What all four daemons share: configuration text, life cycle, logging."""
