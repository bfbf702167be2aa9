"""The pages of the food service."""
