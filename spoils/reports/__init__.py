"""Reads that span many tasks: lists, statistics, failures, workers, why a task waits. Nothing here writes a task."""
