"""How much one request may ask for. Pure."""

LISTED = 200
"""Jobs in one page of a list."""
BATCH = 10_000
"""Jobs in one batch."""
BATCH_BYTES = 8 * 1024 * 1024
BATCH_MARKS = 1_000_000
"""Brackets, braces, commas, quotes and line ends in the body of a batch, wherever they stand: what is decoded of it
takes memory by their number. 10,000 jobs have some 170,000, and 50 each for every ten fields."""
PAYLOAD_BYTES = 64 * 1024
"""Of one job, in a batch too: a worker claims up to 250 at once."""
BATCH_ERRORS = 100
"""Errors that the answer to a batch tells."""
FIELD_ERRORS = 20
"""The most wrong fields that an answer names for one job; each wrong element of a list counts."""
WAIT_SECONDS = 20
"""How long a client may wait for a job's end: the platform's router gives a request up after 30 seconds, and a
stopping server waits for 25."""
WAITERS = 8
"""Clients that may wait in one process: half of the threads that gunicorn.conf.py gives it."""
