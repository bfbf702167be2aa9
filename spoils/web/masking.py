"""Hiding secrets on pages and in the API; see `spoils.masking`, which logs and alerts use too."""

from spoils.masking import MASK, masked, masked_text, secret

__all__ = ["MASK", "masked", "masked_text", "secret"]
