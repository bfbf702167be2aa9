"""The queue's own jobs: the nightly cleanup, and actions on many jobs."""
