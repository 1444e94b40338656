"""Plans of the shipped recipes on hardware with fixed figures; nothing is measured here."""

from dataclasses import replace

import pytest

from aria_ray.config import load_config
from aria_ray.machine.peaks import Peaks
from aria_ray.machine.specs import accelerator, measured_cpu
from aria_ray.planning.estimates import Hardware, RecipeOnHardware
from aria_ray.planning.model_sizes import model_size
from aria_ray.planning.plan import plan

CPU = replace(measured_cpu(Peaks(threads=2, gemm_flops_per_s=156e9, copy_bytes_per_s=20e9)), memory_gb=25)


def hardware_of(name):
    device = CPU if name == "cpu" else accelerator(name)
    return Hardware(device, device)


@pytest.fixture
def make_plan():
    """The plan of a recipe: `make_plan(recipe, hardware, *overrides, load=10)`."""

    def make(recipe="mi300x", hardware="mi300x", *overrides, load=10.0):
        return plan(recipe, load_config(recipe, overrides), hardware_of(hardware), load)

    return make


@pytest.fixture
def setup():
    """A recipe on hardware: `setup(recipe, hardware, *overrides)`."""

    def make(recipe="mi300x", hardware="mi300x", *overrides):
        config = load_config(recipe, overrides)
        return RecipeOnHardware(config, model_size(config.model.source), hardware_of(hardware))

    return make
