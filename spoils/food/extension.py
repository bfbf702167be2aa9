"""The food service as the web program shows it."""

from spoils.food import api
from spoils.food.dashboard.routes import pages
from spoils.web.extension import Extension, FirstJob, Link

FOOD = Extension(
    pages=pages,
    api=api.routes,
    links=(Link("Products", "dashboard.food.products"),),
    first_job=FirstJob(
        text="Fetches a packet of Thai peanut noodles from Open Food Facts.",
        endpoint="fetch-product",
        payload='{"barcode": "737628064502"}',
    ),
)
