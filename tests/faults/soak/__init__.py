"""A long run under faults, on a database of its own; see `bin/soak --help`."""
