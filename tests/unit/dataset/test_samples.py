import json
import random

import pytest

from aria_ray.dataset.samples import PER_SCENARIO, Samples
from aria_ray.dataset.sampling import SCENARIO_SHARES, choose_templates


@pytest.fixture(scope="module")
def rows(row_maker):
    """Rows as they travel: nested columns are JSON."""
    made = [row_maker.row(template.id, "none", 0, 0) for template in choose_templates(row_maker.library, 120, 0.7, 0)]
    return [{**row, "tools": json.dumps(row["tools"]), "messages": json.dumps(row["messages"])} for row in made]


def markdown(rows):
    samples = Samples()
    for row in rows:
        samples.add(row["id"], row["scenario"], row)
    return samples.markdown()


def test_three_rows_of_every_scenario(rows):
    first, *sections = markdown(rows).split("\n## ")
    assert first.startswith("# Sample rows")
    assert [section.split("\n")[0] for section in sections] == list(SCENARIO_SHARES)
    by_id = {row["id"]: row for row in rows}
    for section in sections:
        shown = [line[5:-1] for line in section.split("\n") if line.startswith("### ")]
        assert len(set(shown)) == PER_SCENARIO == 3
        assert {by_id[row_id]["scenario"] for row_id in shown} == {section.split("\n")[0]}


def test_the_same_ones_whatever_the_order(rows):
    wanted = markdown(rows)
    for seed in range(20):
        assert markdown(random.Random(seed).sample(rows, len(rows))) == wanted


def test_they_come_from_all_over(rows):
    assert markdown(rows) != markdown(rows[: len(rows) // 2])


def test_fewer_rows_are_all_shown(rows):
    assert markdown(rows[:1]).count("### ") == 1
    assert markdown([]).count("## ") == 4


def test_a_row_reads_as_a_conversation(row_maker):
    row = row_maker.row("percent_of/1/plain", "none", 0, 0)
    travelled = {**row, "tools": json.dumps(row["tools"]), "messages": json.dumps(row["messages"])}
    text = markdown([travelled])
    call, answer = row["messages"][1], row["messages"][3]
    assert "### `percent_of/1/plain/none`\n\ncategory math, difficulty 1, augmentation none, split train\n" in text
    assert "`percent_of(percent, value)`" in text
    assert f"- **user**: {row['messages'][0]['content']}" in text
    arguments = call["tool_calls"][0]["function"]["arguments"]
    assert f"- **assistant**: *{call['reasoning_content']}* `percent_of({arguments})`" in text
    assert f"- **tool**: {row['messages'][2]['content']}" in text
    assert f"- **assistant**: *{answer['reasoning_content']}* {answer['content']}" in text
