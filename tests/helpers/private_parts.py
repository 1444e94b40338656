"""Whether a private part of a library is still where a `patches` module of ours expects it."""

from importlib import import_module


def check_there(package: str, library: str, owner: object, path: str) -> None:
    """Fail unless `owner`, a module's name or an object, has the attribute at a dotted path; the message says what to do.

    `package` is the package of ours whose `patches.py` uses it.
    """
    seen = import_module(f"aria_ray.{package}.patches").SEEN_WITH[library]
    name = owner if isinstance(owner, str) else type(owner).__name__
    story = (
        f"{library} {import_module(library).__version__} has no {name}.{path}; aria_ray/{package}/patches.py needs it, and "
        f"{library} {seen} has it: find where it went, and write the new version into SEEN_WITH there"
    )
    try:
        part = import_module(owner) if isinstance(owner, str) else owner
    except ImportError as error:
        raise AssertionError(story) from error
    for each in path.split("."):
        assert hasattr(part, each), story
        part = getattr(part, each)
