"""Which hosts are one share's own to ask, where a fleet has several. Pure."""

from __future__ import annotations

from cormorant import urls
from cormorant.interfaces import Neighbours
from cormorant.scheduler.hosts import Host, Hosts


class Territory:
    """The hosts of one share: those whose names it owns, and all that were found at addresses it owns, if these matter.

    Without `neighbours` that is every host.
    """

    def __init__(self, hosts: Hosts, neighbours: Neighbours | None) -> None:
        self._hosts, self._neighbours = hosts, neighbours

    def holds(self, url: str) -> bool:
        """Tell whether the host of `url` is ours by its name, or by its address where that is known."""
        if self._neighbours is None or self._neighbours.owns(url):
            return True
        origin = urls.origin(url)
        address = self._hosts.address_of(origin)
        if address is None or address == origin:  # it is not known, or was looked up in vain
            return False
        return self._neighbours.owns_address(address)

    def address_elsewhere(self, host: Host) -> str | None:
        """Return the address of a host where all that lies there belongs to another share; None: it is ours to ask."""
        if self._neighbours is None or host.address is None or host.address == host.name:
            return None
        return None if self._neighbours.owns_address(host.address) else host.address
