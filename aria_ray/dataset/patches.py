"""The private part of transformers that the dataset relies on. Any release may move it; a test says so then."""

from typing import Any

SEEN_WITH = {"transformers": "5.23.0"}


def compile_chat_template(template: str) -> Any:
    """A chat template as transformers compiles it: a Jinja template with its sandbox and its extensions.

    The public `apply_chat_template` copies all tools and messages before it renders, which takes as long again, and every row
    is rendered. So the step inside it is called: `transformers.utils.chat_template_utils._compile_jinja_template` (seen with
    transformers 5.23.0).
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template  # transformers takes seconds to import

    return _compile_jinja_template(template)
