"""Finding the Ray Serve config, and what it must be."""

from pathlib import Path

import pytest
import yaml

from aria_ray.config import load_config, recipe_names
from aria_ray.errors import ServingError
from aria_ray.grammar import REASONING_PARSER, TOOL_PARSER
from aria_ray.serving.app import IMPORT_PATH
from aria_ray.serving.serve_file import config_names, find_config, read_config

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["laptop", "laptop.yaml", "serve/laptop.yaml"])
def test_a_file_in_the_working_directory_comes_first(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("my own")
    monkeypatch.chdir(tmp_path)
    assert find_config(file).read_text(encoding="utf-8") == "my own"


@pytest.mark.parametrize("file", ["laptop", "laptop.yaml", "serve/laptop.yaml"])
def test_a_shipped_config_is_found_by_name_from_anywhere(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "laptop").mkdir()  # a folder of that name is no config
    monkeypatch.chdir(tmp_path)
    assert find_config(file).read_text(encoding="utf-8").startswith("# One engine on the CPUs of one machine.")


def test_every_recipe_names_a_config_that_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in recipe_names():
        assert read_config(load_config(recipe).serving.file)["applications"], recipe


def test_a_checkout_has_every_shipped_config_under_serve() -> None:
    """`serve run serve/laptop.yaml` from a checkout and `serving.file=laptop` from anywhere read the same file."""
    files = {path.stem: path for path in (ROOT / "serve").glob("*.yaml")}
    assert set(files) == set(config_names())
    for name, path in files.items():
        assert path.samefile(ROOT / "aria_ray" / "serving" / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", ["laptop", "h100", "mi300x"])
def test_every_shipped_config_names_the_parsers_that_rows_are_proved_with(name: str) -> None:
    options = yaml.safe_load(find_config(f"serve/{name}.yaml").read_text())["applications"][0]["args"]["engine_kwargs"]
    assert (options["reasoning_parser"], options["tool_call_parser"]) == (REASONING_PARSER, TOOL_PARSER)


@pytest.mark.parametrize("file", ["nope.yaml", "serve/nope.yaml", "../configs/laptop", ""])
def test_a_missing_config_says_both_places_and_what_is_shipped(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServingError) as refused:
        find_config(file)
    told = str(refused.value)
    assert str(Path(file).absolute()) in told
    assert "one of h100, laptop, mi300x" in told
    assert str(ROOT / "aria_ray" / "serving" / "configs") in told


@pytest.mark.parametrize(
    "content",
    [
        "",
        "7",
        "applications: [",
        "applications: []",
        "applications: 7",
        "applications: [7]",
        f"applications: [{{import_path: {IMPORT_PATH}}}]",
        f"applications: [{{import_path: {IMPORT_PATH}, args: 7}}]",
        "applications: [{import_path: other:app, args: {}}]",
        f"applications: [{{import_path: {IMPORT_PATH}, args: {{}}}}, {{import_path: {IMPORT_PATH}, args: {{}}}}]",
    ],
)
def test_a_file_that_is_no_serve_config_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text(content)
    with pytest.raises(ServingError, match=r"must be a Ray Serve config with one application.*; start from a copy of "):
        read_config(str(tmp_path / "serve.yaml"))


def test_what_ray_serve_reads_besides_is_kept(tmp_path: Path) -> None:
    text = f"proxy_location: EveryNode\napplications: [{{name: a, import_path: '{IMPORT_PATH}', args: {{model: m}}}}]"
    (tmp_path / "serve.yaml").write_text(text)
    assert read_config(str(tmp_path / "serve.yaml")) == yaml.safe_load(text)
