"""Analysing the ingredients of a fetched product."""

import time
from typing import Annotated

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from spoils.config import current_settings
from spoils.food.ingredients import analyse
from spoils.food.models import IngredientAnalysis, Product
from spoils.job import Cancel, Job, Outcome, Queue
from spoils.models import db


class AnalyzeIngredientsJob(Job):
    """Reads a product's ingredients and stores what they are."""

    product_id: Annotated[int, Field(ge=1, le=2**31 - 1)]

    task_type = "analyze_ingredients"
    uniq = True
    max_retries = 2
    open = True
    enqueued_message = "Analysis job enqueued successfully"

    def run(self, queue: Queue) -> Outcome | None:
        """Takes at least SPOILS_ANALYZE_SECONDS, as the system did that this one takes over from."""
        began = time.monotonic()
        missing = Cancel(f"There is no product {self.product_id}. Fetch it by its barcode first.")
        with db.engine.connect() as connection:
            if connection.scalar(select(Product.id).where(Product.id == self.product_id)) is None:
                return missing
        # No transaction is held meanwhile.
        time.sleep(max(0.0, began + current_settings().analyze_seconds - time.monotonic()))
        # Locked, so that a fetch which finds this task still running (and so enqueues no other) cannot slip a newer
        # document in behind what is analysed here.
        document = queue.session.scalar(
            select(Product.document).where(Product.id == self.product_id).with_for_update(read=True)
        )
        if document is None:
            return missing
        product = document.get("product")
        analysis = analyse(product if isinstance(product, dict) else {})
        values = {
            "source": analysis.source,
            "vegan": analysis.vegan,
            "vegetarian": analysis.vegetarian,
            "palm_oil": analysis.palm_oil,
            "analysis": analysis.as_json(),
            "analysed_by": queue.task_id,
        }
        queue.session.execute(
            insert(IngredientAnalysis)
            .values(product_id=self.product_id, **values)
            .on_conflict_do_update(index_elements=["product_id"], set_={**values, "updated_at": func.now()})
        )
        return None
