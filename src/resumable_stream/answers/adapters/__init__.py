"""From the streams of other libraries to items. None of these libraries is imported: their objects are looked at."""

from __future__ import annotations

from .langchain import from_langchain
from .openai import from_openai
from .pydantic_ai import from_pydantic_ai

__all__ = ["from_langchain", "from_openai", "from_pydantic_ai"]
