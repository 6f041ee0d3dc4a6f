"""Codecs that come with the package."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from typing_extensions import override

from .abc import Codec
from .types import RawChunk

__all__ = ["JSONCodec"]


class JSONCodec(Codec):
    """JSON values: each chunk is anything that the standard library's `json` can write, and read back as it was.

    What JSON cannot tell apart comes back in its JSON form: a tuple as a list, a key that is no string as one. Numbers
    that are not finite are refused.
    """

    writes_json: ClassVar[bool] = True

    @override
    def encode(self, value: Any) -> str:
        return _encode(value)

    @override
    def decode(self, chunk: RawChunk) -> Any:
        return json.loads(chunk)


# Made once: json.dumps would make one for each chunk, which takes twice as long as the encoding.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
