"""The four daemons of the stack, and the protocol code that they and the driver share."""
