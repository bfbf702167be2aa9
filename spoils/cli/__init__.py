"""The commands, and how the programs are put together."""
