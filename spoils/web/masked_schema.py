"""JSON Schemas of job classes without the secrets that their defaults and examples hold."""

from typing import Any

from spoils.masking import masked

_VALUES = ("default", "examples", "const")


def masked_schema(schema: Any) -> Any:
    """A JSON Schema without the default and example values of secret fields."""
    if isinstance(schema, list):
        return [masked_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: masked_schema(one) for key, one in schema.items()}
    if isinstance(properties := found.get("properties"), dict):
        found["properties"] = {name: _masked_part(name, part) for name, part in properties.items()}
    return found


def _masked_part(name: str, part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {
        key: value
        for key, value in part.items()
        if key not in _VALUES or masked({name: value}) == {name: value}
    }
