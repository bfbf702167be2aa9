"""A newcomer's walk through the dashboard, in pictures."""
