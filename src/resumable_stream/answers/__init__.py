"""Writing answers: no chunk by hand, and the streams of other libraries as they are."""

from __future__ import annotations

from .adapters import from_langchain, from_openai, from_pydantic_ai
from .items import (
    Finished,
    Item,
    Reasoning,
    Step,
    Text,
    ToolCall,
    ToolError,
    ToolInput,
    ToolInputDelta,
    ToolInputError,
    ToolOutput,
    Usage,
    data,
    document,
    file,
    finished,
    metadata,
    reasoning,
    source,
    step,
    text,
    tool,
    usage,
)
from .threads import in_thread
from .writing import ChunkWriter, as_chunks

__all__ = [
    "ChunkWriter",
    "Finished",
    "Item",
    "Reasoning",
    "Step",
    "Text",
    "ToolCall",
    "ToolError",
    "ToolInput",
    "ToolInputDelta",
    "ToolInputError",
    "ToolOutput",
    "Usage",
    "as_chunks",
    "data",
    "document",
    "file",
    "finished",
    "from_langchain",
    "from_openai",
    "from_pydantic_ai",
    "in_thread",
    "metadata",
    "reasoning",
    "source",
    "step",
    "text",
    "tool",
    "usage",
]
