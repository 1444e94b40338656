import pytest

from aria_ray.tools import ToolResult, execute

NAMES, SCORES = ["Ana", "Tom", "Lee"], [3, 7, 3]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("lowest", {"names": NAMES, "scores": SCORES}, "Ana and Lee"),
        ("rank", {"names": NAMES, "scores": [3, 7, 5]}, "Tom, Lee, Ana"),
        ("rank", {"names": NAMES, "scores": SCORES}, "Tom, Ana, Lee"),
        ("sum_where", {"names": ["food", "bus", "Food"], "amounts": [1.1, 5, 2.2], "name": "food"}, "3.3"),
        ("earliest_date", {"dates": ["2024-10-01", "2024-02-29", "2025-01-01"]}, "2024-02-29"),
        ("latest_date", {"dates": ["2024-10-01", "2024-02-29", "2025-01-01"]}, "2025-01-01"),
        ("latest_date", {"dates": ["2024-10-01"]}, "2024-10-01"),
        (
            "overlaps",
            {"start": "09:00", "end": "10:30", "other_start": "10:00", "other_end": "12:00"},
            "they overlap by 30 minutes",
        ),
        (
            "overlaps",
            {"start": "09:00", "end": "12:00", "other_start": "10:00", "other_end": "10:15"},
            "they overlap by 15 minutes",
        ),
        ("overlaps", {"start": "09:00", "end": "10:00", "other_start": "10:00", "other_end": "11:00"}, "they do not overlap"),
        ("overlaps", {"start": "10:00", "end": "11:00", "other_start": "08:00", "other_end": "09:00"}, "they do not overlap"),
        ("fits_schedule", {"start": "09:00", "end": "10:00", "minutes": 60}, "it fits: there are 60 minutes"),
        ("fits_schedule", {"start": "09:00", "end": "10:00", "minutes": 61}, "it does not fit: there are 60 minutes"),
        ("free_minutes", {"start": "09:00", "end": "17:00", "busy": [30, 45]}, "405"),
        ("free_minutes", {"start": "09:00", "end": "10:00", "busy": [60]}, "0"),
    ],
)
def test_results(name, arguments, text):
    assert execute(name, arguments) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("lowest", {"names": NAMES, "scores": [1]}, "3 names but 1 scores"),
        ("highest", {"names": NAMES, "scores": [1]}, "3 names but 1 scores"),
        ("rank", {"names": ["Ana"], "scores": [1, 2]}, "1 names but 2 scores"),
        ("sum_where", {"names": ["food"], "amounts": [1, 2], "name": "food"}, "1 names but 2 amounts"),
        ("sum_where", {"names": ["food"], "amounts": [1], "name": "rent"}, "no 'rent' in the table"),
        ("earliest_date", {"dates": ["2024-10-01", "2024-02-30"]}, "no such date 2024-02-30"),
        ("latest_date", {"dates": []}, "dates: list must have 1 to 100 entries"),
        (
            "overlaps",
            {"start": "10:00", "end": "09:00", "other_start": "10:00", "other_end": "11:00"},
            "the end 09:00 is not after the start 10:00",
        ),
        (
            "overlaps",
            {"start": "09:00", "end": "10:00", "other_start": "11:00", "other_end": "11:00"},
            "the end 11:00 is not after the start 11:00",
        ),
        ("fits_schedule", {"start": "09:00", "end": "24:30", "minutes": 10}, "no such time 24:30"),
        ("fits_schedule", {"start": "09:00", "end": "10:00", "minutes": 0}, "the minutes must be 1 to 100000"),
        ("free_minutes", {"start": "09:00", "end": "10:00", "busy": [30, 31]}, "there are only 60 minutes"),
        ("free_minutes", {"start": "09:00", "end": "10:00", "busy": [-1]}, "busy minutes cannot be below zero"),
    ],
)
def test_failures(name, arguments, text):
    assert execute(name, arguments) == ToolResult(False, f"error: {text}")
