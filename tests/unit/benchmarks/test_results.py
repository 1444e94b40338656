"""A benchmark's section goes into the Markdown, its figures into JSON beside it, each with what it takes to find them again."""

import json

import pytest
import results


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The Markdown and the folder of figures of this test."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(results, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(results.sys, "argv", ["/somewhere/speed.py", "--rounds", "2"])
    return tmp_path / "RESULTS.md", tmp_path / "figures"


def publish(heading, text, figures=None, write=True):
    results.publish(heading, lambda: results.Section(text, figures or {}), (), write)


def test_figures_are_written_and_read_again(files):
    publish("Speed of it all", "Fast.", {"tokens_per_s": 3.5})
    assert results.figures("Speed of it all") == {"tokens_per_s": 3.5}
    written = json.loads((files[1] / "speed-of-it-all.json").read_text())
    assert (written["heading"], written["command"]) == ("Speed of it all", "python benchmarks/speed.py --rounds 2")
    assert f"- date: {written['date']}\n" in files[0].read_text()


def test_a_section_takes_the_place_of_its_last_version_alone(files):
    publish("One", "First.")
    publish("Two", "Other.")
    publish("One", "Second.")
    text = files[0].read_text()
    assert "First." not in text
    assert text.index("## One\n\nSecond.") < text.index("## Two\n\nOther.")


def test_without_figures_or_write_there_is_no_file(files, capsys):
    publish("No figures", "Text.")
    publish("Not written", "Text.", {"a": 1}, write=False)
    assert not files[1].exists()
    assert "Not written" not in files[0].read_text()
    assert "## Not written" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(results.FIGURES.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_figures_belong_to_a_section_of_the_same_run(path):
    """One that was written again with the Markdown; by hand, neither is to be changed without the other."""
    written = json.loads(path.read_text())
    section = results.RESULTS.read_text().split(f"## {written['heading']}\n", 1)[1].split("\n## ", 1)[0]
    assert results.figures_file(written["heading"]).name == path.name
    for name in ("command", "machine", "versions", "date"):
        assert written[name] in section, name
