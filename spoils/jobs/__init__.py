"""The shelf of job classes: each file beside this one may hold some, and is found by itself."""

import importlib
import pkgutil


def load() -> None:
    """Import every module of this folder, so that its job classes are known. Raises JobDefinitionError."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
