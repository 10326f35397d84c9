"""The console: a stack in the browser, served on loopback. Its pages change nothing but through the CLI's verbs."""
