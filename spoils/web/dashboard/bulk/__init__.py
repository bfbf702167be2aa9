"""Actions on many jobs: the preview and the progress."""
