"""The files that decide the tools of a module: the user's own, whatever way they are imported."""

import sys

import pytest

from aria_ray.config.load import load_config
from aria_ray.dataset.inputs import dataset_inputs
from aria_ray.errors import DataError
from aria_ray.tools.sources import tool_files

TREE = {
    "own_pack/__init__.py": "",
    "own_pack/sub/__init__.py": "from . import other",
    "own_pack/sub/tools.py": "from ..common import K\nfrom . import util\nimport json, numpy, aria_ray.tools\n",
    "own_pack/sub/util.py": "def late():\n    import own_pack.late\n",
    "own_pack/sub/other.py": "",
    "own_pack/common.py": "from own_pack.deep.er import K\n",
    "own_pack/deep/__init__.py": "",
    "own_pack/deep/er.py": "import beside\nK = 1\n",
    "own_pack/late.py": "import own_pack.sub.tools\n",
    "own_pack/never.py": "",
    "beside.py": "",
    "unrelated.py": "",
}
NEEDED = sorted(set(TREE) - {"own_pack/never.py", "unrelated.py"})


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "own_pack"]:
        del sys.modules[name]  # looking a module up imports the packages that it is in


def test_a_module_and_all_that_it_imports(tree, monkeypatch):
    for source in ("own_pack/sub/tools.py", str(tree / "own_pack/sub/tools.py")):
        files = tool_files([source])
        assert files[0] == tree / "own_pack/sub/tools.py"
        assert sorted(str(path.relative_to(tree)) for path in files) == NEEDED
    monkeypatch.syspath_prepend(tree)
    assert tool_files(["own_pack.sub.tools"]) == files


@pytest.mark.parametrize("changed", NEEDED)
def test_changing_a_helper_changes_the_fingerprint(tree, changed):
    config = load_config("smoke", ["dataset.tools=['own_pack/sub/tools.py']"]).dataset
    before = dataset_inputs(config)
    assert dataset_inputs(config) == before
    with (tree / changed).open("a") as file:
        file.write("\n# another line\n")
    assert dataset_inputs(config) != before


def test_helpers_elsewhere_on_the_path_are_the_users_too(tree, tmp_path_factory, monkeypatch):
    library = tmp_path_factory.mktemp("library")
    (library / "own_lib_of_tests.py").write_text("import unrelated_helper\n")
    (library / "unrelated_helper.py").write_text("")
    monkeypatch.syspath_prepend(library)
    (tree / "uses_it.py").write_text("import own_lib_of_tests, httpx, email.message\n")
    names = [path.name for path in tool_files(["uses_it.py"])]
    assert names == ["uses_it.py", "own_lib_of_tests.py", "unrelated_helper.py"]


def test_of_an_installed_package_it_is_that_package_alone(tree, monkeypatch):
    installed = tree / "site-packages"
    (tree / "own_pack").rename(tree / "moved")
    installed.mkdir()
    (tree / "moved").rename(installed / "own_pack")
    (installed / "beside.py").write_text("")
    (tree / "beside.py").unlink()
    monkeypatch.syspath_prepend(installed)
    files = tool_files(["own_pack.sub.tools"])
    assert sorted(str(path.relative_to(installed)) for path in files) == [name for name in NEEDED if name != "beside.py"]


@pytest.mark.parametrize("source", ["no_such_module_here", "no_such_file.py", "no_such.package"])
def test_a_source_that_is_not_there(source):
    with pytest.raises(DataError, match=r"is no module.*give a module on the path"):
        tool_files([source])
