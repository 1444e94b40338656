"""What decides a stage's fingerprint, where it is not simply its section."""

from pathlib import Path

import pytest

from aria_ray.config import load_config
from aria_ray.errors import AriaError
from aria_ray.pipeline import DATASET, TRAINING, VALIDATION, check
from aria_ray.stage import Run
from aria_ray.terminal import Terminal


def run_of(out, recipe, *overrides):
    return Run(load_config(recipe, overrides), recipe, Path(out), Terminal())


def training(recipe, *overrides):
    return run_of("out", recipe, *overrides).fingerprint(TRAINING)


def test_kernels_that_do_not_compute_leave_the_training_as_it_was():
    assert training("laptop", "hardware.kernels=torch") == training("laptop")
    assert training("h100", "hardware.kernels=torch") == training("h100")


def test_a_training_does_not_change_over_to_other_kernels():
    """They round otherwise."""
    assert training("h100", "hardware.kernels=triton") != training("h100")


def test_kernels_without_a_gpu_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(AriaError, match=r"hardware.kernels \(triton\) must have a GPU"):
        check(run_of(tmp_path / "out", "laptop", "hardware.kernels=triton"), DATASET, TRAINING)
    assert not list((tmp_path / "out").iterdir())


def test_a_comment_in_the_serve_file_changes_no_validation_and_a_setting_does(tmp_path):
    shipped, path = (Path(__file__).parents[2] / "serve" / "laptop.yaml").read_text(), tmp_path / "serve.yaml"

    def validation(text):
        path.write_text(text)
        return run_of(tmp_path, "laptop", f"serving.file={path}").fingerprint(VALIDATION)

    assert validation(shipped + "# a comment\n") == validation(shipped)
    assert validation(shipped.replace("max_num_seqs: 16", "max_num_seqs: 8")) != validation(shipped)
    with pytest.raises(AriaError, match=r"serve.yaml must be a Ray Serve config"):
        validation("applications: [")


def test_a_file_that_is_changed_while_a_command_runs_makes_no_stage_of_the_old_fingerprint(tmp_path):
    text, path = (Path(__file__).parents[2] / "serve" / "laptop.yaml").read_text(), tmp_path / "serve.yaml"
    path.write_text(text)
    run = run_of(tmp_path / "out", "laptop", f"serving.file={path}")
    run.fingerprint(VALIDATION)
    path.write_text(text.replace("max_num_seqs: 16", "max_num_seqs: 8"))
    with pytest.raises(AriaError, match="validation was changed while this command ran; run it again"):
        run.make(VALIDATION, lambda _directory, _sampler: pytest.fail("the stage ran"))
    assert not (tmp_path / "out").exists()
