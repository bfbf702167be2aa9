"""A job class with a secret in its payload."""

from spoils.job import Job, Queue


class SecretiveJob(Job):
    """Carries a key that nobody is to read."""

    api_key: str
    name: str

    def run(self, queue: Queue) -> None:
        return None
