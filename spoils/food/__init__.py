"""The food service: products from Open Food Facts and the analysis of their ingredients, as one slice."""
