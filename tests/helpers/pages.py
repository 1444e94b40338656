"""Reading the Markdown of README and docs/: code blocks, code in backticks, and the tree of the run directory."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_blocks(page, language=None):
    """The fenced code blocks of a page, of one language if it is given."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for of, text in found if language is None or of == language]


def inline_code(page):
    """What stands in single backticks, outside of code blocks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _BLOCK.sub("", page.read_text(encoding="utf-8")))


def run_tree(page=ROOT / "docs" / "run-directory.md"):
    """Paths in the tree of a run directory, and what the page says of each; folders end in a slash."""
    block = next(text for text in code_blocks(page) if text.startswith("aria_llama_final_output/\n"))
    found, folder = {}, ""
    for line in block.splitlines()[1:]:
        name, _, what = line.strip().partition(" ")
        if line.startswith("    "):
            found[folder + name] = what.strip()
        else:
            folder = name if name.endswith("/") else ""
            found[name] = what.strip()
    return found
