"""What `cormorant doctor` looks at: the limits of this machine against a wish for so many at once under an engine.

`facts.machine` reads, `checks.examine` judges: the second takes what the first returns, so that tests can feed it
machines that are not here.
"""
