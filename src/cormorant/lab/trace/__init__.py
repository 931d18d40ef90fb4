"""The trace: one run as it really happened, every event with who told of it, and three ways to look at it.

    events ◀─ tracer ◀─ notes ◀─ switches (greenlet's own hook), steps (coroutines), wire (transport and loop)
       │        └── worked out: phases (when they ended), sockets (whose they were)
       └─▶ chrome (Perfetto), picture (SVG); the time line in the terminal is cli's

Nothing is changed on the road: the tracer is an `interfaces.Observer`, and every hook is gone after the run.
"""
