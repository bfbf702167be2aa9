"""The queue's own jobs: the nightly cleanup, the hourly one of classes with their own retention, and bulk actions."""
