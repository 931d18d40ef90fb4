"""A rude web site on loopback, for tests: every fault a server can commit, chosen by the path.

The site runs in a child process, so that it answers while the test's own thread is blocked, and keeps
the truth log there: what was asked, from which port, and how it ended. `python -m rude` (with `tests`
on the path) serves it to anybody until stdin ends.

    bodies.py   what each page holds: a pure function of its URL
    faults.py   path -> what goes on the wire; whole.py has the orderly pages
    server.py   connections, listeners, the truth log
    tls.py      certificates, good and bad
    http2.py    the same rudeness in frames
    site.py     `Rude`, the handle a test holds
"""

from rude.bodies import body
from rude.site import Hit, Rude

__all__ = ["Hit", "Rude", "body"]
