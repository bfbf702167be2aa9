"""The batches and chains."""
