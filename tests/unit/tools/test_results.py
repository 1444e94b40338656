"""Whatever a user's tool returns becomes text that can be read."""

import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid

import numpy
import pydantic
import pytest

from aria_ray.tools.results import result_text


class Kind(enum.Enum):
    A = "a"


class Level(enum.IntEnum):
    HIGH = 2


class Stay(pydantic.BaseModel):
    nights: int
    when: datetime.date


@dataclasses.dataclass
class Quote:
    eur: float
    stay: Stay
    tags: set[str]


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "done"),
        ("as it is\n ", "as it is\n "),
        (True, "true"),
        (3, "3"),
        (3.0, "3"),
        (0.1 + 0.2, "0.3"),
        (52.520008, "52.520008"),
        (float("nan"), "nan"),
        (10**30, "1" + "0" * 30),
        (decimal.Decimal("0.20"), "0.20"),
        (numpy.float64(2.5), "2.5"),
        (numpy.int64(4), "4"),
        (numpy.bool_(True), "true"),
        (numpy.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (b"caf\xc3\xa9", "café"),
        (Kind.A, "a"),
        (Level.HIGH, "2"),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (datetime.timedelta(minutes=5), "0:05:00"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        ([], "none"),
        (["a", 1, 2.5], "a, 1, 2.5"),
        ((1, 2), "1, 2"),
        ({"b", "a", "c"}, "a, b, c"),
        ({10, 9}, "9, 10"),
        (iter(["x", "y"]), "x, y"),
        ([None, True], "[null, true]"),
        ({"item": "é", "pieces": None}, '{"item": "é", "pieces": null}'),
        ({Kind.A: decimal.Decimal("1.5"), 3: {2, 1}}, '{"a": 1.5, "3": [1, 2]}'),
        ([Pair(1, "x"), Pair(2, "y")], '[[1, "x"], [2, "y"]]'),
        (Stay(nights=2, when=datetime.date(2026, 1, 2)), '{"nights": 2, "when": "2026-01-02"}'),
        (
            Quote(1.5, Stay(nights=2, when=datetime.date(2026, 1, 2)), {"b", "a"}),
            '{"eur": 1.5, "stay": {"nights": 2, "when": "2026-01-02"}, "tags": ["a", "b"]}',
        ),
    ],
)
def test_results(value, text):
    assert result_text(value) == text
