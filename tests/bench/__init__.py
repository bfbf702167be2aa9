"""What the queue costs: measured beside bare PostgreSQL and, where they are installed, beside its peers."""
