"""A Ray cluster on this machine, in a process of its own: python ray_nodes.py NODE...

Prints the address, then the pid of each node's raylet, the head's first. A line `add` on stdin adds a node and prints
its raylet's pid. When stdin ends, all end. Dead nodes are known after 2 s here, not after 15.
"""

from __future__ import annotations

import os
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}

from ray.cluster_utils import Cluster  # the environment first

CORES = 2
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 4,
}


def main() -> None:
    common = {"num_cpus": CORES, "node_ip_address": "127.0.0.1"}
    head = common | {"include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    print(cluster.address, _raylet(cluster.head_node), flush=True)
    for _ in sys.stdin:
        print(_raylet(cluster.add_node(**common)), flush=True)
    os._exit(0)  # its reapers end the nodes


def _raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


if __name__ == "__main__":
    main()
