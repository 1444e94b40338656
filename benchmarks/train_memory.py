"""Peak memory of LoRA training against full-parameter AdamW, on the same packed rows.

    python benchmarks/train_memory.py [--steps 2] [--write] [section.key=value ...]

The base model and the rows of the `laptop` recipe with its overrides; then random weights of the shape of Llama-3.2-1B, half of
its layers, on random tokens (16 GiB of memory are needed): what a process has besides the model weighs less on a larger one.
Prints Markdown.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from results import Section, publish
from train_step_gpu import some_turns
from train_vs_trl import in_own_process, task_for
from training_sides import Task, alone, out_of_memory, peak_gib
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.config.load import load_config
from aria_ray.config.schema import TrainingConfig
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.curriculum import stage_packs
from aria_ray.training.loop import train_step
from aria_ray.training.lora import MergedLoraLinear
from aria_ray.training.model import add_adapter, linear_layers, load_model, load_tokenizer, trainable_parameters

LARGER = "random weights, 8 of the 16 layers of Llama-3.2-1B"
LARGER_SHAPE = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 8,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
}
"""From the model card's config.json, but for the layers: full AdamW of all was out of memory on 24 GiB, beside other work."""


@dataclass(frozen=True)
class Peak:
    """What a process needed."""

    gib: float
    num_trained: int
    """Parameters."""


def base_model_peak(task: Task, lora: bool) -> Peak:
    """Peak of a process that trains the recipe's base model."""
    tokenizer = load_tokenizer(task.base)
    model = load_model(task.base, tokenizer, task.dtype)
    use_prefix_tree_attention(model)
    return _peak(add_adapter(model, tokenizer, task.config.lora, 0) if lora else model, task)


def larger_model_peak(task: Task, lora: bool) -> Peak:
    """Peak of a process that trains random weights of a larger shape."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LARGER_SHAPE))
    use_prefix_tree_attention(model)
    adapter = task.config.lora
    wanted = LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=list(adapter.chosen(linear_layers(model))),
    )
    wanted._register_custom_module({torch.nn.Linear: MergedLoraLinear})
    return _peak(get_peft_model(model, wanted) if lora else model, task)


def _peak(model: torch.nn.Module, task: Task) -> Peak:
    torch.set_num_threads(task.threads)
    model.train()
    trained = list(trainable_parameters(model).values())
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0, fused=True)
    for packs in stage_packs(task.turns, 0, task.num_steps, task.config):
        train_step(model, optimizer, packs, 1e-5, alone, out_of_memory)
    return Peak(peak_gib(), sum(parameter.numel() for parameter in trained))


def report(overrides: list[str], num_steps: int) -> Section:
    """Measure every side, each in a process of its own, and say what was found."""
    config = load_config("laptop", overrides)
    task, _ = task_for(config, num_steps, threads=torch.get_num_threads())
    shuffled = task.config.model_copy(update={"order": "shuffled"})
    real = replace(task, config=shuffled)
    larger = replace(real, base=Path(), dtype="float32", turns=tuple(some_turns(8, LARGER_SHAPE["vocab_size"], seed=0)))
    lines = ["| | LoRA, GiB | full AdamW, GiB | less | parameters trained |", "|---|---|---|---|---|"]
    peaks_gib = {}
    for name, function, its_task in ((config.model.source, base_model_peak, real), (LARGER, larger_model_peak, larger)):
        lora, full = (in_own_process(function, its_task, with_lora) for with_lora in (True, False))
        peaks_gib[name] = {"LoRA": lora.gib, "full AdamW": full.gib}
        trained = f"{lora.num_trained:,} of {full.num_trained:,}"
        lines.append(f"| {name} | {lora.gib:.2f} | {full.gib:.2f} | {1 - lora.gib / full.gib:.0%} | {trained} |")
    training: TrainingConfig = config.training
    text = f"""\
{num_steps} steps of up to {training.tokens_per_step} tokens in rows of up to {training.max_tokens}, \
{config.model.dtype}, LoRA of rank {training.lora.rank}. Peak resident set of the process, with Python and the libraries. Both \
sides compute the same rows the same way and keep all activations; memory is at its peak once the optimizer has its averages, \
in the second step.

{chr(10).join(lines)}
"""
    return Section(text, {"peak_gib": peaks_gib})


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--steps", type=int, default=2, help="steps of each side (2)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the laptop recipe")
    options = parser.parse_args()
    if options.steps < 2:
        raise SystemExit(f"--steps {options.steps}: must be at least 2, since the first makes the optimizer's averages")
    publish("Memory of training", lambda: report(options.overrides, options.steps), (), options.write)


if __name__ == "__main__":
    main()
