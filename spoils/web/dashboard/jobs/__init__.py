"""The list of jobs, search results, and the page of one job."""
