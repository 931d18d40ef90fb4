"""The same work under every engine, measured: the embedded site, the demo and, later, trials and reports."""
