"""`final_dataset.jsonl` is for other trainers too: Hugging Face `datasets` reads it and TRL trains on it, as it is."""

import json
import math

import pytest
from dataset_rows import read_rows
from datasets import disable_progress_bars, load_dataset
from trl import SFTConfig, SFTTrainer

from aria_ray.config.schema import DatasetConfig, ModelConfig
from aria_ray.dataset import generate
from aria_ray.dataset.sampling import SCENARIO_SHARES
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_model, load_tokenizer

pytestmark = pytest.mark.training

CONFIG = DatasetConfig(num_templates=60, augmentations=2)
NUM_STEPS = 2


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A dataset file with the lines that the dataset stage would write, made without Ray."""
    path = tmp_path_factory.mktemp("rows") / generate.DATASET_FILE
    with path.open("w", encoding="utf-8") as lines:
        for item in generate.dataset_items(CONFIG):
            for row in generate.make_rows(item, CONFIG):
                lines.write(generate.line_of(row))
    return path


@pytest.fixture(scope="module")
def written(file):
    return read_rows(file)


@pytest.fixture(scope="module")
def loaded(file, tmp_path_factory):
    disable_progress_bars()
    return load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path_factory.mktemp("cache")))


def test_datasets_gives_the_rows_back_as_they_were_written(written, loaded):
    assert loaded.num_rows == len(written) == CONFIG.num_templates * CONFIG.augmentations
    assert {row["scenario"] for row in written} == set(SCENARIO_SHARES)
    assert loaded.column_names == generate.SCHEMA.names
    assert list(loaded) == written  # no key is added, lost or filled with None
    for row in loaded:  # arguments stay the text that the OpenAI protocol has
        for message in row["messages"]:
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_sft_trainer_trains_on_the_rows_as_they_were_loaded(written, loaded, tmp_path):
    base = prepare_base(ModelConfig(source="random:tiny"))
    tokenizer = load_tokenizer(base)
    arguments = SFTConfig(
        output_dir=str(tmp_path),
        max_steps=NUM_STEPS,
        per_device_train_batch_size=2,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(load_model(base, tokenizer, "float32"), arguments, train_dataset=loaded, processing_class=tokenizer)
    for row, prepared in zip(written, trainer.train_dataset, strict=True):
        text = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False)
        assert prepared["input_ids"] == tokenizer.encode(text, add_special_tokens=False), row["id"]
        assert all(tool["function"]["name"] in text for tool in row["tools"])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == NUM_STEPS
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
