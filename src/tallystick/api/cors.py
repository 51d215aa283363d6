"""Cross-origin requests of browsers: off, unless the configuration names the origins that may send them."""

from collections.abc import Sequence
from typing import Any, Final

import falcon

from tallystick.api import idempotency_keys, request_ids

_ANY: Final = "*"
_EXPOSED: Final = (
    "ETag",
    idempotency_keys.REPLAYED_HEADER,
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    request_ids.HEADER,
)


class Cors(falcon.CORSMiddleware[Any, Any]):
    """The framework's, which answers preflights without a key, with the header that caches need."""

    def __init__(self, origins: Sequence[str]) -> None:
        super().__init__(_ANY if _ANY in origins else list(origins), _EXPOSED)

    def process_response(self, req: Any, resp: Any, resource: object, req_succeeded: bool) -> None:
        """Add the headers to an answer."""
        super().process_response(req, resp, resource, req_succeeded)
        if self.allow_origins != _ANY:
            # The answer to another origin differs.
            resp.append_header("Vary", "Origin")
