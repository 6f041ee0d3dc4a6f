"""A page that shows what streams do, to be mounted in an application, for those whom it lets in.

It is off unless it is mounted. Nothing else of this package imports it.
"""

from .app import Authorize, Inspector

__all__ = ["Authorize", "Inspector"]
