import subprocess
import sys

import pytest

from aria_ray.tools.values import ToolError, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.0, "12"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333"),
        (1e-9, "0.000000001"),
        (12345.678, "12345.68"),
        (1e15, "1000000000000000"),
        (-0.0, "0"),
        (-2.50, "-2.5"),
        ([1.0, 2.5], "1, 2.5"),
        ([], "none"),
    ],
)
def test_plain(value, text):
    assert plain(value) == text


def test_too_large():
    with pytest.raises(ToolError, match="too large"):
        plain(1e16)


@pytest.mark.subprocess
def test_import_is_light():
    code = "import sys, aria_ray.tools; print(sorted({'torch', 'ray', 'transformers', 'pint', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
