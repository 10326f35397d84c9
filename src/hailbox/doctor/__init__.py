"""Finding the root of the trouble, on the host and in a stack; collecting what a bug report needs."""
