"""Enqueueing by hand."""
