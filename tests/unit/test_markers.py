"""A test that uses what its markers do not say fails: the rules of tests/conftest.py, on tests written here."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

RULES = Path(__file__).parents[1] / "conftest.py"
STARTS = "import subprocess, sys\n{mark}\ndef test_it():\n    subprocess.run([sys.executable, '-c', ''], check=True)"
BY_HELPER = "def helper():\n    import vllm\n{mark}\ndef test_it():\n    assert helper\n"
BY_FIXTURE = "@pytest.fixture\ndef made():\n    from trl import SFTTrainer\n{mark}\ndef test_it(made):\n    pass\n"


def outcome(pytester, text, mark):
    """How the one test of a file ends that is held to the rules."""
    pytester.makeconftest(RULES.read_text(encoding="utf-8"))
    pytester.makepyfile(f"import pytest\n{text.format(mark=mark)}")
    return pytester.inline_run("-p", "no:cacheprovider", "-p", "no:xdist")


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("text", "marker"), [(STARTS, "subprocess"), (BY_HELPER, "vllm"), ("{mark}\ndef test_it():\n    import ray\n", "ray")]
)
def test_what_a_test_uses_it_has_to_say(pytester, text, marker):
    outcome(pytester, text, "").assertoutcome(failed=1)
    pytester.path.joinpath("conftest.py").unlink()
    outcome(pytester, text, f"@pytest.mark.{marker}").assertoutcome(passed=1)


def test_a_fixture_counts_as_the_tests_own(pytester):
    outcome(pytester, BY_FIXTURE, "").assertoutcome(failed=1)


def test_what_another_test_of_the_file_imports_does_not_count(pytester):
    other = "@pytest.mark.skip\ndef test_other():\n    import vllm\n{mark}\ndef test_it():\n    pass\n"
    outcome(pytester, other, "").assertoutcome(passed=1, failed=1)  # the other one, for its own import


def test_git_may_be_asked_by_any_test(pytester):
    text = "import subprocess\n{mark}\ndef test_it():\n    subprocess.run(['git', '--version'], check=True)\n"
    outcome(pytester, text, "").assertoutcome(passed=1)
