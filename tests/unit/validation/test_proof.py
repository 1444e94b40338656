"""What is known of an endpoint whose processes are elsewhere."""

from aria_ray.validation.proof import unwatched

MEASURED = {
    "speed": {"levels": [1], "cpu_share": 0.9, "gpu_share": 0.8, "peak_memory_gib": 7.0, "peak_gpu_memory_gib": 60.0},
    "stability": {"cv": 0.1, "memory_gib": [7.0, 7.1], "memory_growth_share": 0.01, "memory_growth_interval": [0.0, 0.02]},
}


def test_what_the_driver_saw_of_itself_is_not_the_endpoints():
    facts = unwatched(MEASURED)
    assert facts["speed"] == {
        "levels": [1],
        "cpu_share": None,
        "gpu_share": None,
        "peak_memory_gib": None,
        "peak_gpu_memory_gib": None,
    }
    assert facts["stability"] == {"cv": 0.1, "memory_gib": [], "memory_growth_share": None, "memory_growth_interval": None}


def test_what_the_nodes_samplers_saw_stands_instead():
    seen = {"cpu_share": 0.3, "gpu_share": None, "peak_gpu_memory_gib": 172.0}
    speed = unwatched(MEASURED, seen)["speed"]
    assert (speed["cpu_share"], speed["gpu_share"]) == (0.3, None)
    assert speed["peak_gpu_memory_gib"] == 172.0
    assert speed["peak_memory_gib"] is None
