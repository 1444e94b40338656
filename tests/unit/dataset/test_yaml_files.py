import pytest
from pydantic import BaseModel

from aria_ray.dataset.yaml_files import read_yaml
from aria_ray.errors import DataError


class Item(BaseModel):
    name: str
    sizes: list[int] = []


def read(folder, text):
    (folder / "x.yaml").write_text(text)
    return read_yaml(folder / "x.yaml")


def test_a_place_is_the_line_of_its_deepest_node(tmp_path):
    file = read(tmp_path, "items:\n  - name: a\n    sizes: [1,\n      2]\n  - name: b\n")
    assert file.root == {"items": [{"name": "a", "sizes": [1, 2]}, {"name": "b"}]}
    lines = [file.line(place) for place in ((), ("items", 0), ("items", 0, "sizes", 1), ("items", 1, "name"), ("items", 9))]
    assert lines == [1, 2, 4, 5, 2]


def test_what_a_model_refuses_names_file_line_and_rule(tmp_path):
    file = read(tmp_path, "name: a\nsizes:\n  - 1\n  - x\n")
    with pytest.raises(DataError, match=r"x.yaml:4: sizes.1: Input should be a valid integer"):
        file.parse(Item, file.root, ())
    assert file.parse(Item, {"name": "b"}, ()).name == "b"


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "is empty and must have content"), ("a: [", "is not YAML"), ("a: !!python/object:os.x {}", "is not YAML")],
)
def test_broken_files(tmp_path, text, rule):
    with pytest.raises(DataError, match=rule):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="is missing; add it or reinstall the package"):
        read_yaml(tmp_path / "none.yaml")
