"""Recipes, overrides, and what a wrong one says."""

import pytest

from aria_ray.config import load_config, recipe_names
from aria_ray.errors import ConfigError


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid(name):
    assert load_config(name).training.num_steps > 0


def test_overrides_are_applied_in_order_and_typed():
    config = load_config(
        "smoke", ["training.num_steps=9", "training.num_steps=12", "training.learning_rate=1e-4", "training.lora.rank=4"]
    )
    assert config.training.num_steps == 12
    assert config.training.learning_rate == 1e-4
    assert config.training.lora.rank == 4


def test_a_file_is_a_recipe_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{model: {source: x}, dataset: {num_templates: 5}, validation: {num_cases: 1, targets: {output_tokens_per_s: 1}},"
        " training: {num_steps: 4, tokens_per_step: 8, max_tokens: 8, learning_rate: 1}}"
    )
    assert load_config(str(path)).dataset.num_templates == 5


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("laptp", "", "neither a file nor one of .*laptop.*did you mean laptop"),
        ("smoke", "training.num_steps", "must look like section.key=value"),
        ("smoke", "training.num_stepz=3", "no such key .did you mean num_steps"),
        ("smoke", "training.num_steps=many", "valid integer.*got 'many'"),
        ("smoke", "training.num_steps.x=1", "'num_steps' is a value, not a section"),
        ("smoke", "training.num_steps=2", "at least one per stage"),
        ("smoke", "training.num_steps=[", "must be YAML"),
        ("smoke", "training.max_tokens=100000", "must be at least num_workers x max_tokens"),
        ("smoke", "dataset.teacher={model: x}", "either a `base_url` or a `source`"),
        ("smoke", "dataset.teacher={base_url: http://x/v1}", "`base_url` and `model` go together"),
        ("smoke", "dataset.teacher={source: x, model: x}", "`base_url` and `model` go together"),
        ("smoke", "dataset.teacher={source: x}", "there are none; give tools"),
        ("smoke", "lora.rank=3", "lora: no such key"),
        ("smoke", "serving.port=0", r"serving.port: .* greater than or equal to 1 \(got '0'\); see `aria config --schema`"),
        ("mi300x", "training.use_gpu=false", r"'mi300x': hardware.accelerator \(mi300x\) .* training.use_gpu \(false\)"),
    ],
)
def test_bad_input_gets_one_clear_line(recipe, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(recipe, [override] if override else [])
    assert "\n" not in str(caught.value)


def test_every_worker_must_have_a_row_in_every_step():
    load_config("laptop", ["training.num_workers=2", "training.tokens_per_step=1536"])
    with pytest.raises(ConfigError, match=r"tokens_per_step \(1535\) must be at least num_workers x max_tokens \(2 x 768\)"):
        load_config("laptop", ["training.num_workers=2", "training.tokens_per_step=1535"])


def test_a_recipe_that_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="must be a YAML mapping"):
        load_config(str(tmp_path / "x.yaml"))
