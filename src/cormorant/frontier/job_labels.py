"""Labels of keys: 34 bits of a hash that is the same in every process of one job, and known to nobody else.

Python's own hash is another in each process, so nothing made of it can be stored. This one is BLAKE2b (RFC 7693) with
a key that the job draws when it begins and keeps in its book, which is private: nobody can aim at a label.
"""

from __future__ import annotations

import os
from hashlib import blake2b

from cormorant.frontier.job_store import Store

LABEL_BITS = 34  # part and tag of `seen.py`; labels are stored, so it is part of the format
SECRET = "secret of labels"  # a name in the book
_SECRET_BYTES = 16
_LABEL = (1 << LABEL_BITS) - 1


class Labels:
    """The labels of one job. A job that has no secret yet draws one, and commits it."""

    def __init__(self, store: Store) -> None:
        secret = store.value(SECRET)
        if secret is None:
            secret = os.urandom(_SECRET_BYTES).hex()
            with store.transaction():
                store.put({SECRET: secret})
        self._keyed = blake2b(key=bytes.fromhex(secret), digest_size=8)

    def of(self, text: bytes) -> int:
        """Return the label of a key, by its text as bytes (`seen.as_bytes`)."""
        keyed = self._keyed.copy()  # a third cheaper than hashing the secret each time
        keyed.update(text)
        return int.from_bytes(keyed.digest(), "little") & _LABEL
