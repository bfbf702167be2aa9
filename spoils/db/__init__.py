"""Engines, sessions, the rules for connections, and the embedded server of development."""
