"""Fetching with little patience, so that a test of a dripping server is short. A worker of these tests loads it."""

from spoils.jobs.fetch_product import FetchProductJob


class ImpatientFetchJob(FetchProductJob):
    """Fetches a product in half a second or not at all."""

    task_type = "impatient_fetch"
    timeout = 0.5
