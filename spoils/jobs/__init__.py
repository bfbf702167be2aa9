"""The jobs of this deployment: each file beside this one may hold some, and is discovered automatically."""
