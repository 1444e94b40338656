"""What a recipe and its Ray Serve config say about the same thing."""

from importlib import resources

import pytest
import yaml

from aria_ray.config import load_config, recipe_names
from aria_ray.errors import ConfigError
from aria_ray.serving.agreement import check_agreement, contradictions


def serve_config(folder, name="laptop", **changes):
    """The path of a copy of a shipped Serve config with other arguments; those of `engine_kwargs` by their own names."""
    tree = yaml.safe_load(resources.files("aria_ray.serving").joinpath("configs", f"{name}.yaml").read_text())
    args = tree["applications"][0]["args"]
    for key, value in changes.items():
        (args["engine_kwargs"] if key in ("dtype", "max_model_len") else args)[key] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def found(recipe, *overrides):
    return list(contradictions(load_config(recipe, overrides)))


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_shipped_recipe_agrees_with_its_serve_config(recipe):
    assert found(recipe) == []


@pytest.mark.parametrize(
    ("recipe", "changes", "overrides", "ours", "theirs"),
    [
        ("laptop", {"dtype": "bfloat16"}, [], "model.dtype (float32)", "args.engine_kwargs.dtype (bfloat16)"),
        ("laptop", {"dtype": "half"}, [], "model.dtype (float32)", "args.engine_kwargs.dtype (half)"),
        ("laptop", {"dtype": ["float32"]}, [], "model.dtype (float32)", "args.engine_kwargs.dtype (['float32'])"),
        ("laptop", {"max_model_len": "1k"}, [], "training.max_tokens (768)", "args.engine_kwargs.max_model_len (1k)"),
        ("laptop", {"max_model_len": 767}, [], "training.max_tokens (768)", "args.engine_kwargs.max_model_len (767)"),
        ("laptop", {"accelerator": "gpu"}, [], "training.use_gpu (false)", "args.accelerator (gpu)"),
        ("mi300x", {"accelerator": "cpu"}, [], "training.use_gpu (true)", "args.accelerator (cpu)"),
        ("mi300x", {"accelerator_type": "H100"}, [], "hardware.accelerator (mi300x)", "args.accelerator_type (H100)"),
        ("laptop", {"self_check": False}, [], "serving.self_check (true)", "args.self_check (false)"),
        ("mi300x", {}, ["model.dtype=float32"], "model.dtype (float32)", "args.engine_kwargs.dtype (bfloat16)"),
    ],
)
def test_a_contradiction_names_both_values_and_both_places(tmp_path, recipe, changes, overrides, ours, theirs):
    path = serve_config(tmp_path, recipe, **changes)
    (error,) = found(recipe, f"serving.file={path}", *overrides)
    assert error.problem.startswith(f"{ours} of the recipe contradicts {theirs} of serving.file {path}")
    assert ours.partition(" ")[0] in error.fix
    with pytest.raises(ConfigError, match="contradicts"):
        check_agreement(load_config(recipe, [f"serving.file={path}", *overrides]))


@pytest.mark.parametrize(
    ("recipe", "changes", "overrides"),
    [
        ("laptop", {"dtype": "auto"}, ["model.dtype=bfloat16"]),
        ("laptop", {"dtype": "float"}, []),
        ("laptop", {"max_model_len": 768}, []),
        ("laptop", {"max_model_len": None}, []),
        ("mi300x", {"accelerator_type": "AMD-Instinct-MI300X-OAM"}, []),
        ("laptop", {}, ["serving.self_check=false"]),
        ("laptop", {"self_check": False}, ["serving.self_check=false"]),
        (
            "laptop",
            {"accelerator": "gpu", "accelerator_type": "A100"},
            ["training.use_gpu=true"],
        ),  # a GPU we have no figures of
    ],
)
def test_what_can_hold_together_passes(tmp_path, recipe, changes, overrides):
    check_agreement(load_config(recipe, [f"serving.file={serve_config(tmp_path, recipe, **changes)}", *overrides]))


def test_all_contradictions_are_found(tmp_path):
    path = serve_config(tmp_path, dtype="bfloat16", max_model_len=64, accelerator="gpu", self_check=False)
    assert len(found("laptop", f"serving.file={path}")) == 4
