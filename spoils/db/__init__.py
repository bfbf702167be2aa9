"""Connections: engines, their rules, migrations, and the embedded server of development."""
