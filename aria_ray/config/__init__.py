"""Configuration: typed sections, and reading them from a recipe and overrides. Imports nothing heavy."""

from aria_ray.config.load import load_config, recipe_names
from aria_ray.config.schema import (
    DatasetConfig,
    ModelConfig,
    RunConfig,
    ServingConfig,
    TrainingConfig,
    ValidationConfig,
)

__all__ = [
    "DatasetConfig",
    "ModelConfig",
    "RunConfig",
    "ServingConfig",
    "TrainingConfig",
    "ValidationConfig",
    "load_config",
    "recipe_names",
]
