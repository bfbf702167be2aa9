"""A Django application whose tasks the tests enqueue and perform."""
