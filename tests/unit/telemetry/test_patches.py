"""The private part of Ray that telemetry uses is where it was; what it says is in tests/integration/telemetry_cases.py."""

from private_parts import check_there


def test_ray_says_what_is_free_on_each_node():
    check_there("telemetry", "ray", "ray._private.state", "available_resources_per_node")
