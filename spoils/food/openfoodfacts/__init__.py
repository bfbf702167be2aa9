"""Open Food Facts, and its bad days sorted into those worth a retry and those that are final."""
