"""Errors keep what is wrong and the way out apart, wherever they travel."""

import copy
import pickle

import pytest

from aria_ray.errors import AriaError, ConfigError, DataError, ServingError, TrainingError


@pytest.mark.parametrize("kind", [AriaError, ConfigError, DataError, ServingError, TrainingError])
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_both_fields_survive_pickle_and_copy(kind, travel):
    there = travel(kind("rank is -1; it must be above 0", "set training.lora.rank"))
    assert type(there) is kind
    assert (there.problem, there.fix) == ("rank is -1; it must be above 0", "set training.lora.rank")
    assert str(there) == "rank is -1; it must be above 0; set training.lora.rank"


def test_the_text_is_one_line_and_a_missing_fix_adds_nothing():
    assert str(DataError("a list of\n  two lines")) == "a list of two lines"
    assert str(DataError(problem="no file", fix="give\none")) == "no file; give one"
