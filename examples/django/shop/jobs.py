"""The jobs of the shop."""

from sqlalchemy import text

from spoils import Cancel, Done, Job, Queue

MAILED = text("UPDATE shop_order SET mailed_at = now() WHERE id = :id RETURNING email")


class MailReceipt(Job):
    """Mails the receipt of an order."""

    order_id: int

    def run(self, queue: Queue) -> Done | Cancel:
        # One transaction: the order is marked as mailed if, and only if, the job is recorded as finished.
        email = queue.session.scalar(MAILED, {"id": self.order_id})
        if email is None:
            return Cancel(f"There is no order {self.order_id}.")
        return Done({"mailed_to": email})
