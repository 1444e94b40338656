"""The private part of transformers that the dataset uses is where it was."""

from private_parts import check_there

from aria_ray.dataset.patches import compile_chat_template


def test_transformers_compiles_templates_there():
    check_there("dataset", "transformers", "transformers.utils.chat_template_utils", "_compile_jinja_template")
    assert compile_chat_template("{{ messages[0] }}!").render(messages=["hi"]) == "hi!"
