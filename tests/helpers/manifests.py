"""Manifests of finished stages, with the results that a test gives them."""

from aria_ray.records import Manifest


def manifest_of(stage, result, *, fingerprint="f" * 16, files=None):
    """The manifest of a stage that gave this result."""
    return Manifest[type(result)](
        stage=stage,
        fingerprint=fingerprint,
        upstream={},
        config={},
        files=files or {},
        versions={},
        commit=None,
        created="2026-01-01T00:00:00+00:00",
        wall_s=12.0,
        result=result,
    )
