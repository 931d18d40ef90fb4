"""How many workers, and where: a job cut into shards by host, dealt to workers on this machine or on a cluster.

`driver.py` is the one who deals; `member.py` the inside of a worker; `processes.py` and `ray.py` are the two ways to
start one.
"""
