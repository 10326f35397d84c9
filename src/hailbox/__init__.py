"""The driver: brings up, heals, resets and removes stacks of the 2010 cloud-storage daemons."""

__version__ = "0.1.0"
