"""Sending a notification."""

import time
from typing import Annotated

from pydantic import Field, StringConstraints

from spoils.config import current_settings
from spoils.job import Job, Queue
from spoils.notifications import deliver

Kind = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


class SendNotificationJob(Job):
    """Sends an e-mail, a push message or a text to a user."""

    user_id: Annotated[int, Field(ge=0, le=2**63 - 1, examples=[123])]
    notification_type: Annotated[Kind, Field(examples=["email"])]
    message: Annotated[Text, Field(examples=["Your product scan is ready!"])]

    task_type = "send_notification"
    max_retries = 5

    def run(self, queue: Queue) -> None:
        """Deliver to the URL that is set for this type; with none set, log the delivery and take half a second."""
        settings = current_settings()
        kind = self.notification_type.lower().replace("-", "_")
        url = settings.notify_urls.get(kind)
        if url is None:
            queue.log.info(
                "Delivered %s to user %d (no SPOILS_NOTIFY_URL_%s is set)", kind, self.user_id, kind.upper()
            )
            time.sleep(settings.notify_seconds)
            return
        deliver(url, title="Spoils", body=self.message)
        queue.log.info("Delivered %s to user %d", kind, self.user_id)
