"""Fetching a product from Open Food Facts."""

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.food.barcode import Barcode, normalise
from spoils.food.models import Product
from spoils.food.openfoodfacts.client import OpenFoodFacts
from spoils.food.openfoodfacts.errors import OpenFoodFactsError, UpstreamBusy
from spoils.food.openfoodfacts.product import FetchedProduct
from spoils.job import Cancel, Job, Outcome, Queue, Rate, RetryLater, wire
from spoils.jobs.analyze_ingredients import AnalyzeIngredientsJob
from spoils.version import __version__

USER_AGENT = f"Spoils/{__version__} (food scanning service; contact: admin@spoils.example)"


class FetchProductJob(Job):
    """Fetches a product from Open Food Facts, stores it, and enqueues the analysis of its ingredients."""

    barcode: Barcode

    task_type = "fetch_product"
    uniq = True
    max_retries = 3
    #: Ends a fetch from a server that sends its answer byte by byte: no timeout of a socket does.
    timeout = 15
    open = True
    #: What Open Food Facts allows.
    limits = (Rate(15, per=60),)

    def backoff(self, attempt: int) -> float:
        """60, 120, 240 s."""
        return 60.0 * float(2**attempt)

    def uniq_hash(self) -> str | None:
        """One hash for a product, however the zeros of its barcode are written; the payload stays as given.

        fang hashes the payload as given. The two agree where the barcode is normalised (13 digits, or 8); of others, a
        Rust program that shares the table may enqueue a duplicate, which fetches the product once more. A row keeps
        the hash that it was enqueued with.
        """
        return wire.uniq_hash({**self.to_wire(), "barcode": normalise(self.barcode)})

    def run(self, queue: Queue) -> Outcome | None:
        """The product, the enqueued analysis and this task's completion are committed at once."""
        upstream = OpenFoodFacts(base_url=current_settings().openfoodfacts_url, user_agent=USER_AGENT)
        try:
            fetched = upstream.fetch(self.barcode)
        except UpstreamBusy as exc:
            if exc.retry_after is None:
                raise
            raise RetryLater(exc.retry_after, str(exc), hold=True) from exc
        except OpenFoodFactsError as exc:
            if exc.final:
                return Cancel(str(exc))
            raise
        product_id = _store(queue.session, fetched, queue)
        queue.enqueue(AnalyzeIngredientsJob(product_id=product_id))
        return None


def _store(session: Session, fetched: FetchedProduct, queue: Queue) -> int:
    """Insert the product, or bring its row up to date; its id."""
    values = {**vars(fetched), "fetched_by": queue.task_id}
    statement = (
        insert(Product)
        .values(**values)
        .on_conflict_do_update(index_elements=["barcode"], set_={**values, "updated_at": func.now()})
        .returning(Product.id)
    )
    return session.execute(statement).scalar_one()
