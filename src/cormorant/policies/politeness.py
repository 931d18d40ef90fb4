"""How much of us one host has to bear. Pure. A host is scheme, host and port (`urls.origin`)."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Politeness:
    """At most `per_host` requests at once (0: no limit), and `delay` seconds between two starts."""

    per_host: int = 8
    delay: float = 0.0

    def has_room(self, active: int) -> bool:
        """Return whether a host with `active` requests under way may get another."""
        return self.per_host == 0 or active < self.per_host
