"""The command line: composing configs, launching verbs, help and error wording."""
