"""The command line: one file per command, thin, each imported only when its command is run."""
