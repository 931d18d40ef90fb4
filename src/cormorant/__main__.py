"""`python -m cormorant` is the command `cormorant`."""

from __future__ import annotations

from cormorant.cli import main

if __name__ == "__main__":
    main()
