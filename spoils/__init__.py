"""Spoils: a job queue in one PostgreSQL table."""

__version__ = "0.1.0"
