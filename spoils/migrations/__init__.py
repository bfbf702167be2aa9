"""The queue's schema, revision by revision."""
