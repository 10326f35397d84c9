"""Why a stack or a replica does not work: one diagnosis, one code for each cause, for every verb that tells of it."""
