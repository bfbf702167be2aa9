"""Failures in groups."""
