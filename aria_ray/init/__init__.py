"""`aria init`: a small project of one's own that runs as it is: tools, example requests and a recipe."""

from aria_ray.init.project import write_project

__all__ = ["write_project"]
