"""The private part of Ray that telemetry relies on. Any release may move it; a test says so then."""

SEEN_WITH = {"ray": "2.60.0"}


def free_resources() -> dict[str, dict[str, float]]:
    """Amount of each resource that nobody uses now, by node id and by Ray's name of the resource.

    Ray's public `ray.available_resources` adds up all nodes, and `ray.nodes` says what a node has, not what is free of it.
    `ray._private.state.available_resources_per_node` (seen with ray 2.60.0) is what Ray's own `ray.util.tpu` asks.
    """
    from ray._private.state import available_resources_per_node

    free: dict[str, dict[str, float]] = available_resources_per_node()
    return free
