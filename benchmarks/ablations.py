"""What each choice of the `laptop` recipe is worth: the same budget with one of them changed.

    python benchmarks/ablations.py [--steps 80] [--turns 150] [--only NAME] [--write] [section.key=value ...]

Each variant trains in turn, in this process and without Ray, on as many packed tokens, and then says the same held-out turns by
greedy decoding after the reference's history. Prints Markdown.
"""

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from results import Section, publish
from train_vs_trl import write_rows
from training_sides import alone, out_of_memory
from transformers import PreTrainedTokenizerBase

from aria_ray.config.load import load_config
from aria_ray.config.schema import RunConfig
from aria_ray.grammar import CALL_END, CALL_START, THINK_END, TURN_END, Call, message_calls, thought_functions
from aria_ray.intervals import wilson_interval
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.base_model import prepare_base
from aria_ray.training.curriculum import learning_rate, stage_packs, stage_steps
from aria_ray.training.loop import train_step
from aria_ray.training.model import add_adapter, load_model, load_tokenizer, trainable_parameters
from aria_ray.training.tokens import TurnTokens
from aria_ray.validation.references import same_rounds

Row = dict[str, Any]
Rewrite = Callable[[Row], Row]
GENERATED_TOKENS = 320
"""At most, of one turn: the longest long thought with its calls."""
BATCH = 25
_CALL = re.compile(f"{CALL_START}(.*?){CALL_END}", re.S)


@dataclass(frozen=True)
class Variant:
    """A change to the recipe, and one to the rows."""

    overrides: tuple[str, ...] = ()
    rewrite: Rewrite | None = None


@dataclass(frozen=True)
class HeldOut:
    """A turn to be said, and what is right."""

    prompt: tuple[int, ...]
    calls: tuple[Call, ...]
    answer_contains: tuple[str, ...]
    """Of an answer; empty where calls are due."""
    scenario: str


@dataclass(frozen=True)
class Outcome:
    """What a variant came to."""

    right: list[bool]
    scenarios: list[str]
    target_tokens: float
    """Mean length of a supervised turn."""
    num_turns: int
    """Turns trained on."""
    seconds: float


def without_thought(row: Row) -> Row:
    """The row with nothing before its calls and answers."""
    return _with_thoughts(row, lambda _message: None)


def with_long_thought(row: Row) -> Row:
    """The row with thoughts that go through the whole tool list first, as free reasoning does."""
    functions = [tool["function"] for tool in row["tools"]]
    said = [f"{function['name']} would {function['description'].rstrip('.').lower()}" for function in functions]
    request = next(message["content"] for message in row["messages"] if message["role"] == "user")

    def longer(message: Mapping[str, Any]) -> str:
        short: str = message["reasoning_content"]
        ask, rest = short.split("; function: ", 1)
        chosen = ", ".join(thought_functions(short)) or "none of them"
        return f"{ask}. the user says: {request} the tools: {', '.join(said)}. what fits is {chosen}; function: {rest}"

    return _with_thoughts(row, longer)


def _with_thoughts(row: Row, thought: Callable[[Mapping[str, Any]], str | None]) -> Row:
    messages = [
        {**message, "reasoning_content": thought(message)} if message["role"] == "assistant" else message
        for message in row["messages"]
    ]
    return {**row, "messages": messages}


AS_IT_IS = "the recipe"
VARIANTS = {
    AS_IT_IS: Variant(),
    "in stages, half of each replayed": Variant(("training.order=staged", "training.replay_share=0.5")),
    "in stages, no replay": Variant(("training.order=staged", "training.replay_share=0")),
    "names masked in an eighth of the rows": Variant(("dataset.augmentation_kinds=[context,paraphrase,noise,masking]",)),
    "no thought": Variant(rewrite=without_thought),
    "long thought": Variant(rewrite=with_long_thought),
}


def encoded(tokenizer: PreTrainedTokenizerBase, row: Row) -> list[TurnTokens]:
    """The assistant turns of a row, with or without thoughts (`training.tokens` insists on them)."""
    turns = []
    for index, message in enumerate(row["messages"]):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, row, index, ask=True)
        said = _render(tokenizer, row, index + 1, ask=False).removeprefix(prompt).removesuffix("\n")
        start, ids = _ids(tokenizer, prompt), _ids(tokenizer, said)
        thought = said[: said.index(THINK_END) + len(THINK_END)] if THINK_END in said else ""
        turns.append(
            TurnTokens(
                row_id=row["id"],
                difficulty=row["difficulty"],
                ids=(*start, *ids),
                num_prompt=len(start),
                thought_end=len(start) + len(_ids(tokenizer, thought)),
                calls=bool(message.get("tool_calls")),
                decision=(len(start), len(start) + len(ids)),
            )
        )
    return turns


def held_out_turns(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], num_turns: int) -> list[HeldOut]:
    """A sample of the turns of the test split."""
    turns = []
    for row in rows:
        last = len(row["messages"]) - 1
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant":
                contains = tuple(row["answer_contains"]) if index == last else ()
                prompt = _ids(tokenizer, _render(tokenizer, row, index, ask=True))
                turns.append(HeldOut(prompt, message_calls(message), contains, row["scenario"]))
    return random.Random(0).sample(turns, min(num_turns, len(turns)))


def is_right(turn: HeldOut, text: str) -> bool:
    """Whether a turn calls what the reference does, or answers and says what a right answer has to contain."""
    try:
        calls, content = parsed(text)
    except ValueError:
        return False
    if turn.calls:
        return same_rounds([calls], [turn.calls])
    return not calls and all(part.casefold() in content.casefold() for part in turn.answer_contains)


def parsed(text: str) -> tuple[tuple[Call, ...], str]:
    """The calls and the content of one assistant turn, from its text without turn markers.

    Raises:
        ValueError: a tool call is not JSON, or lacks a name or an arguments object.
    """
    after_thought = text.split(THINK_END, 1)[-1]
    calls = []
    for body in _CALL.findall(after_thought):
        call = json.loads(body)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not isinstance(call.get("arguments"), dict):
            raise ValueError(f"tool call {body!r} must be an object with a name and an arguments object")
        calls.append(Call(call["name"], call["arguments"]))
    return tuple(calls), _CALL.sub("", after_thought).strip()


def trained(config: RunConfig, tokenizer: PreTrainedTokenizerBase, turns: Sequence[TurnTokens]) -> tuple[PeftModel, int]:
    """The model after every stage, and how many turns it saw: the trainer's steps without its gates and checkpoints."""
    training = config.training
    model = load_model(prepare_base(config.model), tokenizer, config.model.dtype)
    use_prefix_tree_attention(model)
    adapted = add_adapter(model, tokenizer, training.lora, training.seed)
    adapted.train()
    optimizer = torch.optim.AdamW(trainable_parameters(adapted).values(), weight_decay=0.0, fused=True)
    seen = 0
    for index, num_steps in enumerate(stage_steps(training)):
        peak = training.learning_rate * training.stages[index].learning_rate_multiplier
        for step, packs in enumerate(stage_packs(turns, index, num_steps, training)):
            rate = learning_rate(step, num_steps, peak, training.warmup_share)
            train_step(adapted, optimizer, packs, rate, alone, out_of_memory)
            seen += sum(len(packed.turns) for packed in packs)
    return adapted, seen


def generated(model: PeftModel, tokenizer: PreTrainedTokenizerBase, turns: Sequence[HeldOut]) -> list[str]:
    """What the model says, greedily."""
    merged = model.merge_and_unload()
    merged.set_attn_implementation("sdpa")
    merged.eval()
    tokenizer.padding_side = "left"
    end = tokenizer.convert_tokens_to_ids(TURN_END)
    texts = []
    for start in range(0, len(turns), BATCH):
        prompts = [{"input_ids": list(turn.prompt)} for turn in turns[start : start + BATCH]]
        batch = tokenizer.pad(prompts, return_tensors="pt")
        with torch.no_grad():
            found = merged.generate(
                **batch, max_new_tokens=GENERATED_TOKENS, do_sample=False, eos_token_id=end, pad_token_id=end
            )
        said = tokenizer.batch_decode(found[:, batch["input_ids"].shape[1] :])
        texts += [text.split(TURN_END, 1)[0] for text in said]
    return texts


def outcome(variant: Variant, overrides: Sequence[str], num_turns: int) -> Outcome:
    """Train a variant and have it say the held-out turns."""
    config = load_config("laptop", [*overrides, *variant.overrides])
    tokenizer = load_tokenizer(prepare_base(config.model))
    tokenizer.pad_token = TURN_END
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(config.dataset, path)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # Plain rows, so that every variant is asked the same whatever augmentations it trains on.
    asked = [row for row in rows if row["split"] == "test" and row["augmentation"] == "none"]
    turns = [
        turn
        for row in rows
        if row["split"] == "train"
        for turn in encoded(tokenizer, variant.rewrite(row) if variant.rewrite else row)
        if len(turn.ids) <= config.training.max_tokens
    ]
    started = time.perf_counter()
    model, seen = trained(config, tokenizer, turns)
    seconds = time.perf_counter() - started
    wanted = held_out_turns(tokenizer, asked, num_turns)
    said = generated(model, tokenizer, wanted)
    right = [is_right(turn, text) for turn, text in zip(wanted, said, strict=True)]
    length = sum(len(turn.ids) - turn.num_prompt for turn in turns) / len(turns)
    return Outcome(right, [turn.scenario for turn in wanted], length, seen, seconds)


def report(names: Sequence[str], overrides: Sequence[str], num_steps: int, num_turns: int) -> Section:
    """Run the variants and say what was found."""
    fixed = [*overrides, f"training.num_steps={num_steps}"]
    found = {name: outcome(VARIANTS[name], fixed, num_turns) for name in names}
    scenarios = sorted({scenario for one in found.values() for scenario in one.scenarios})
    lines = [
        f"| | right turns | {' | '.join(scenarios)} | turns trained on | tokens of a turn | minutes |",
        f"|---|---|{'---|' * len(scenarios)}---|---|---|",
    ]
    for name, one in found.items():
        parts = [[ok for ok, kind in zip(one.right, one.scenarios, strict=True) if kind == scenario] for scenario in scenarios]
        cells = [_share(one.right, interval=True), *(_share(part, interval=False) for part in parts)]
        cells += [f"{one.num_turns:,}", f"{one.target_tokens:.0f}", f"{one.seconds / 60:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    config = load_config("laptop", fixed).training
    num_asked = len(next(iter(found.values())).right)
    text = f"""\
Each variant trains for {num_steps} steps of {config.tokens_per_step} packed tokens (`{config.order}` unless it says \
otherwise), then says {num_asked} turns of the test split, whose phrasings were not trained on, by greedy decoding after the \
reference's history. Right is a turn that makes the reference's calls, or answers with what the answer must contain. In \
brackets the 95 % interval (Wilson) of the share; one seed each.

{chr(10).join(lines)}
"""
    return Section(text, {"target_tokens_per_turn": {name: one.target_tokens for name, one in found.items()}})


def _share(right: Sequence[bool], *, interval: bool) -> str:
    if not right:
        return "no turns"
    low, high = wilson_interval(sum(right), len(right))
    return f"{sum(right) / len(right):.0%}" + (f" ({low:.0%} to {high:.0%})" if interval else f" of {len(right)}")


def _render(tokenizer: PreTrainedTokenizerBase, row: Row, num_messages: int, *, ask: bool) -> str:
    text: str = tokenizer.apply_chat_template(
        row["messages"][:num_messages], tools=row["tools"], tokenize=False, add_generation_prompt=ask
    )
    return text


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--steps", type=int, default=80, help="training steps of each variant (80)")
    parser.add_argument("--turns", type=int, default=150, help="held-out turns that each has to say (150)")
    parser.add_argument("--only", action="append", choices=VARIANTS, help="this variant; may be given again (all)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the laptop recipe")
    options = parser.parse_args()
    publish(
        "Ablations",
        lambda: report(options.only or list(VARIANTS), options.overrides, options.steps, options.turns),
        (),
        options.write,
    )


if __name__ == "__main__":
    main()
