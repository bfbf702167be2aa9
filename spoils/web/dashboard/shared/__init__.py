"""What several pages use: formats, the status bar, rows of jobs, filters, charts."""
