"""Decides what happens to each URL, and when. Pure: no I/O, no thread, no clock; tests drive it by hand.

`fetch.py` is the scheduler and its theory of operation; `hosts.py` knows who may be asked next, `robots.py` what
hosts allow, `discovery.py` what a page leads to, `requests.py` how a request begins, and its end without an answer.
"""
