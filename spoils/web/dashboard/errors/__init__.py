"""The failed jobs in groups."""
