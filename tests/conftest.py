"""What every suite shares: the rude site."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `rude` is a package beside this file, under every import mode

from rude import Rude


@pytest.fixture(scope="session")
def rude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rude]:
    """The rude site, one for the whole run; `rude.clear_log()` before reading its truth log."""
    with Rude(tmp_path_factory.mktemp("rude")) as site:
        yield site
