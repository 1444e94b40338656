"""Rules about the source as a whole: what may import what, and what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aria_ray"

# Each may import what stands above it. The four stages stand side by side: none imports another.
LAYERS = (
    {"errors", "versions"},
    {"progress", "records", "session"},
    {"artifacts", "intervals"},
    {"grammar"},
    {"tools"},
    {"requests"},
    {"config"},
    {"results"},
    {"measured"},
    {"metrics"},
    {"machine"},
    {"kernels", "rocm", "telemetry"},
    {"planning"},
    {"dataset", "training", "serving", "validation"},
    {"report", "terminal", "chat", "init"},
    {"stage"},
    {"pipeline"},
    {"doctor"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path):
    """(our module's top name, whole name) of each import of ours in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "aria_ray" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "aria_ray" and len(parts) > 1:
                yield parts[1]


def test_every_module_has_a_layer():
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert names - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_upward_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for name in imports(path):
        assert name == own or LEVEL[name] < LEVEL[own], f"{own} imports {name}"


def test_only_the_rim_imports_ray():
    users = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(
            (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "ray" for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ray")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    serving = {f"serving/{name}.py" for name in ("app", "deploy", "ingress", "replica", "patches")}
    training = {f"training/{name}.py" for name in ("train", "network", "memory_baseline")}
    rim = {"dataset/generate.py", "telemetry/cluster.py", "telemetry/patches.py", *training, *serving}
    assert users == {*rim, "session.py", "doctor.py"}


def private_parts(path):
    """Names with a leading underscore that a file takes from other people's modules, or from objects other than its own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in ("aria_ray", "__future__"):
            yield from (name for name in (*node.module.split("."), *(alias.name for alias in node.names)) if is_private(name))
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split(".") if is_private(part))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) not in ("self", "cls", "os"):
            yield node.attr


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_parts_of_libraries_are_in_patches(path):
    if path.name != "patches.py":
        assert list(private_parts(path)) == [], "put it into the package's patches.py, with the version it was seen with"


@pytest.mark.subprocess
@pytest.mark.parametrize("module", ["aria_ray.cli", "aria_ray.config", "aria_ray.session", "aria_ray.tools"])
def test_the_command_line_is_light(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'ray', 'transformers', 'vllm') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ERRORS = {"AriaError", "ConfigError", "DataError", "TrainingError", "ServingError"}


def errors_made(path):
    """The calls in a file that make one of our errors."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            yield node


def test_the_way_out_of_an_error_is_its_fix():
    """Not the second half of its problem, where a program would have to search the text for it."""
    made = [(path, call) for path in PACKAGE.rglob("*.py") for call in errors_made(path)]
    assert len(made) > 100
    assert [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, call in made
        if len(call.args) == 1
        and any("; " in str(part.value) for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant))
    ] == []
