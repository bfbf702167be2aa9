"""The food service's schema, revision by revision."""
