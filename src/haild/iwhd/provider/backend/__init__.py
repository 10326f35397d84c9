"""The back ends, one module each, named for the type of provider. Nothing else lies here."""
