"""The pure middle: names, catalogue, profiles, configuration, the Compose model, errors, results. No I/O."""
