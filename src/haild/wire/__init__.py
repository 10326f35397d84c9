"""Codecs: bytes in, values out. No socket, no clock, no file."""
