"""Sentry as an application sets it up, in a module of its jobs; a file takes in place of the server what is sent."""

import json
import os
from pathlib import Path

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration

from spoils.job import Job, Queue


class ToFile(sentry_sdk.Transport):
    """Writes each event as a line of JSON into the file of SENTRY_FILE."""

    def capture_envelope(self, envelope: Envelope) -> None:
        if event := envelope.get_event():
            with Path(os.environ["SENTRY_FILE"]).open("a") as file:
                file.write(json.dumps(event) + "\n")


if "SENTRY_FILE" in os.environ:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=ToFile,
        integrations=[LoggingIntegration(event_level=os.environ["SENTRY_LEVEL"])],
    )


class FinalFailureJob(Job):
    """Fails for good at its first failure."""

    max_retries = 0

    def run(self, queue: Queue) -> None:
        raise LookupError("token=hunter2")
