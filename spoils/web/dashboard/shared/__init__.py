"""What several pages share: formats, the status bar, rows of jobs, filters, charts."""
