"""What pages call a batch or a chain."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.masking import masked_text
from spoils.models import Batch
from spoils.reports import batches
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import short_id


@dataclass(frozen=True, slots=True)
class BatchLink:
    """The text of a link to the page of a batch or chain."""

    id: str
    kind: str
    title: str


def batch_link(session: Session, batch_id: UUID) -> BatchLink:
    """The link to the batch or chain with this id, which may be past its retention."""
    batch = batches.find(session, batch_id)
    if batch is None:
        return BatchLink(str(batch_id), "batch", short_id(batch_id))
    return BatchLink(str(batch_id), kind(batch), title(batch))


def kind(batch: Batch) -> str:
    """batch, or chain."""
    return "batch" if batch.links is None else "chain"


def title(batch: Batch) -> str:
    """Its name, or the end of its id."""
    return formats.one_line(masked_text(batch.name or "")) or short_id(batch.id)
