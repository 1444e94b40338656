"""The schema that is published: for editors as JSON Schema, for readers as the page of settings."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from aria_ray.config import recipe_names

pytestmark = pytest.mark.subprocess

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "aria_ray" / "config" / "recipes"


@pytest.fixture(scope="module")
def schema():
    done = subprocess.run([sys.executable, "-m", "aria_ray", "config", "--schema"], capture_output=True, check=True)
    return json.loads(done.stdout)


def recipe(name):
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text())


def test_the_schema_is_a_schema(schema):
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_fits_the_schema(schema, name):
    Draft202012Validator(schema).validate(recipe(name))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("training", "num_stepz", 3), ("training", "num_steps", 0), ("model", "dtype", "int8"), ("serving", "port", "http")],
)
def test_a_wrong_recipe_does_not_fit_the_schema(schema, section, key, value):
    wrong = recipe("smoke")
    wrong[section][key] = value
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(wrong)


def test_every_setting_is_described(schema):
    keys = [(section, key) for section, content in schema["$defs"].items() for key in content["properties"]]
    bare = [(section, key) for section, key in keys if "description" not in schema["$defs"][section]["properties"][key]]
    assert not bare
    assert len(keys) > 70


def test_the_page_of_settings_is_current(tmp_path):
    """If it is not: python docs/make_settings.py"""
    target = tmp_path / "settings.md"
    subprocess.run([sys.executable, str(ROOT / "docs" / "make_settings.py"), str(target)], check=True)
    assert (ROOT / "docs" / "settings.md").read_text() == target.read_text()


def test_the_page_has_every_setting_with_its_default_and_bounds():
    page = (ROOT / "docs" / "settings.md").read_text()
    assert "## training.stages[]" in page
    assert "| `num_steps` | integer | required | > 0 | Number of optimizer steps over all stages. |" in page
    assert '| `dtype` | `float32`, `bfloat16` | `"float32"` |  | ' in page
    assert "| `num_intents` | integer | none | ≥ 25 | " in page
