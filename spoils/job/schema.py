"""The fields of a job class, as workers of different releases compare them."""

import hashlib
import json

from pydantic import BaseModel


def schema_digest(job_class: type[BaseModel]) -> str:
    """A digest of the class's fields. Where it is equal in two releases, each can read the rows of the other."""
    # The schema that `check_payload` reads, so every class that could be defined has one.
    schema = job_class.model_json_schema(mode="serialization")
    fields = {part: schema.get(part) for part in ("properties", "required", "$defs")}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def ignored_fields(job_class: type[BaseModel], metadata: str) -> list[str]:
    """The fields of a row that the class does not have."""
    if job_class.model_config.get("extra") == "allow":
        return []
    row = json.loads(metadata, parse_int=str)  # as text: Python refuses to read thousands of digits
    return sorted(row.keys() - job_class.model_fields.keys() - {"type"})
