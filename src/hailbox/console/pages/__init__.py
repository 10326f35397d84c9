"""The pages of the console: what each shows, gathered from the verbs and rooms below."""
