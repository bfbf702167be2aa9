"""The outside world: only these rooms know foreign formats and foreign errors."""
