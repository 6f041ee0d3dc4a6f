"""What a backend may not raise, and a bug makes it raise."""

from __future__ import annotations

from ..exceptions import BackendError


def backend_error(error: Exception, doing: str) -> BackendError:
    """Return ``error`` if it is what the contract allows, else one that has it as its cause."""
    if isinstance(error, BackendError):
        return error
    failure = BackendError(f"the backend failed to {doing}: {type(error).__name__}")
    failure.__cause__ = error
    return failure
