"""A product, and the list of them, as their pages need them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, defer

from spoils.food.barcode import spellings
from spoils.food.dashboard.analysis_view import AnalysisView, Printed, printed, tag_name, view_analysis
from spoils.food.models import IngredientAnalysis, Product
from spoils.job.registry import registry
from spoils.models import Task
from spoils.reports import find_by_payload
from spoils.reports.brief_tasks import brief_tasks
from spoils.reports.pager import Cursor
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.dashboard.shared.status_bar import StatusBar

PAGE = 50
NOVA = {
    1: "unprocessed or minimally processed",
    2: "a processed ingredient",
    3: "processed",
    4: "ultra-processed",
}
FETCH, ANALYSE = "FetchProductJob", "AnalyzeIngredientsJob"


@dataclass(frozen=True, slots=True)
class ProductRow:
    """What the list shows of a product."""

    barcode: str
    name: str
    brands: str
    quantity: str
    nutriscore: str
    nova: str
    fetched: formats.Moment | None


@dataclass(frozen=True, slots=True)
class ProductPage:
    """A page of products, latest fetch first, and its cursors."""

    rows: tuple[ProductRow, ...]
    newer: tuple[datetime, int] | None
    older: tuple[datetime, int] | None


@dataclass(frozen=True, slots=True)
class ProductView:
    """What the page of a product shows."""

    barcode: str
    title: str
    subtitle: str
    nutriscore: str
    nova: int | None
    nova_word: str
    allergens: tuple[str, ...]
    fetched: formats.Moment | None
    analysis: AnalysisView | None
    printed: tuple[Printed, ...]
    jobs: tuple[JobRow, ...]
    reach: str
    may_fetch: bool
    may_analyse: bool


def list_products(
    session: Session,
    now: datetime,
    older_than: tuple[datetime, int] | None = None,
    newer_than: tuple[datetime, int] | None = None,
) -> ProductPage:
    """One page, keyset both ways."""
    # A document is large, and no list shows it.
    cursor = Cursor(older_than, newer_than)
    statement = select(Product).options(defer(Product.document))
    statement = cursor.rows_of(statement, Product.updated_at, Product.id).limit(PAGE + 1)
    page = cursor.page(session.scalars(statement).all(), PAGE, lambda one: (one.updated_at, one.id))
    return ProductPage(tuple(_row(product, now) for product in page.rows), page.newer, page.older)


def find_product(session: Session, barcode: str) -> Product | None:
    """The product under this normalised code."""
    return session.scalars(select(Product).where(Product.barcode == barcode)).one_or_none()


def show_product(session: Session, product: Product, bar: StatusBar) -> ProductView:
    """The page of `product`."""
    stored = session.get(IngredientAnalysis, product.id)
    analysis = view_analysis(stored.analysis) if stored else None
    allergens = (analysis.allergens if analysis else ()) or _tags(product.allergens)
    return ProductView(
        barcode=product.barcode,
        title=product.name or product.barcode,
        subtitle=_subtitle(product),
        nutriscore=product.nutriscore.lower() if product.nutriscore else "",
        nova=product.nova_group,
        nova_word=NOVA.get(product.nova_group or 0, ""),
        allergens=allergens,
        fetched=formats.moment(product.updated_at, bar.now),
        analysis=analysis,
        printed=printed(product.ingredients_text, _printed_allergens(analysis, allergens)),
        jobs=job_rows(session, _jobs(session, product, stored), bar.now),
        reach=find_by_payload.REACH_OF_ENDED,
        may_fetch=registry.get(FETCH) is not None,
        may_analyse=registry.get(ANALYSE) is not None,
    )


def _row(product: Product, now: datetime) -> ProductRow:
    return ProductRow(
        barcode=product.barcode,
        name=product.name or "",
        brands=product.brands or "",
        quantity=product.quantity or "",
        nutriscore=(product.nutriscore or "").upper(),
        nova=str(product.nova_group) if product.nova_group else "",
        fetched=formats.moment(product.updated_at, now),
    )


def _subtitle(product: Product) -> str:
    document: object = product.document
    inner = document.get("product", document) if isinstance(document, dict) else None
    generic = inner.get("generic_name") if isinstance(inner, dict) else None
    parts = [generic if isinstance(generic, str) else None, product.brands, product.quantity]
    return " · ".join(text for text in parts if text and text != product.name)


def _tags(tags: Any) -> tuple[str, ...]:
    return tuple(tag_name(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def _printed_allergens(analysis: AnalysisView | None, allergens: tuple[str, ...]) -> tuple[str, ...]:
    named = tuple(row.name for row in analysis.rows if row.allergens and not row.parent) if analysis else ()
    return (*named, *allergens)


def _jobs(session: Session, product: Product, stored: IngredientAnalysis | None) -> Sequence[Task]:
    """The tasks that wrote what is shown, and others about the same product, the last changed first."""
    makers = [each for each in (product.fetched_by, stored.analysed_by if stored else None) if each]
    made = brief_tasks(session, select(Task).where(Task.id.in_(makers))) if makers else ()
    written = spellings(product.barcode)

    def names_it(task: Any) -> ColumnElement[bool]:
        return or_(
            task.payload["barcode"].astext.in_(written),
            task.payload["product_id"].astext == str(product.id),
        )

    others = find_by_payload.meeting(session, names_it)
    every = {task.id: task for task in (*made, *others)}
    return sorted(every.values(), key=lambda task: task.updated_at, reverse=True)
