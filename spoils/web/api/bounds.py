"""Limits of a single request."""

LISTED = 200
"""Jobs in one page of a list."""
BATCH = 10_000
"""Jobs in one batch."""
BATCH_BYTES = 8 * 1024 * 1024
BATCH_MARKS = 1_000_000
"""Brackets, braces, commas, quotes and line ends in the body of a batch: the memory that the decoded body takes grows
with their number. 10,000 jobs have about 170,000 of them, and 50 more each for every ten fields."""
BATCH_ERRORS = 100
"""Invalid jobs that the response to a batch lists."""
WAIT_SECONDS = 20
"""How long a client may wait for a job to end: the platform's router gives a request up after 30 seconds, and a
stopping server waits for 25."""
WAITERS = 8
"""Clients that may wait in one process: half of the threads that spoils/cli/gunicorn_conf.py gives it."""
