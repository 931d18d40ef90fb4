"""Bytes over the wire: one hop at a time through libcurl, whatever the engine.

`Curl` is picklable and cheap: it holds the options and builds a transport where an engine needs one.
Redirects, decoding, credentials and addresses are ours (`docs/architecture.md`); libcurl gets one clean URL
and returns raw bytes.
"""

from __future__ import annotations

import dataclasses

from cormorant.errors import UsageError
from cormorant.interfaces import EventedTransport, Loop, Transport
from cormorant.options import Options


@dataclasses.dataclass(frozen=True, slots=True)
class Curl:
    """Builds transports over pycurl (implements `interfaces.Transports`)."""

    options: Options

    def __post_init__(self) -> None:
        if self.options.proxy and not self.options.allow_private:
            raise UsageError("allow_private=False cannot be kept with a proxy: the proxy dials; drop one of the two")

    def blocking(self) -> Transport:
        """Return a transport that blocks its thread."""
        from cormorant.transport.blocking import BlockingCurl

        return BlockingCurl(self.options)

    def evented(self, loop: Loop) -> EventedTransport:
        """Return a transport that waits through `loop`."""
        from cormorant.transport.evented import EventedCurl

        return EventedCurl(self.options, loop)
