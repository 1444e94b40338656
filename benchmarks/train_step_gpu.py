"""One training step of a large model on one GPU: ours against PEFT and transformers as they come, on the same turns.

    python benchmarks/train_step_gpu.py [--shape llama-3.1-8b] [--tokens 2048] [--steps 10] [--rounds 3] [--write]

Plain PyTorch without Ray, a dataset or a checkpoint: random weights of the shape named, random tokens in turns as long as those
of the `mi300x` recipe's rows. `--shape tiny --device cpu` tries the script itself where there is no GPU. Prints Markdown.
"""

import argparse
import dataclasses
import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from results import publish, spread
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from training_sides import alone, out_of_memory
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.machine.flops import DecoderShape, lora_step_flops
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.batch import Pack, group_turns, pack
from aria_ray.training.loop import MAX_GRADIENT_NORM, train_step
from aria_ray.training.lora import LAYERS
from aria_ray.training.model import trainable_parameters
from aria_ray.training.tokens import TurnTokens

SHAPES = {
    "llama-3.1-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
    },
}
"""Arguments of transformers' `LlamaConfig`; those of Llama-3.1-8B are in its model card's config.json."""
LIST_TOKENS, TURNS_PER_LIST, HISTORY_TOKENS, SAID_TOKENS = 129, 14, (24, 103), (24, 71)
"""Of a tool list (mean), and, least and most, of what stands between the list and a turn and of the turn itself: the 10th and
the 90th percentile. Measured over 1,000 training rows of the `mi300x` recipe, which has 14.7 turns to a list, with SmolLM2's
tokenizer (Llama's own is not at hand)."""
RANK, ALPHA = 16, 32.0
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WARM_UP_STEPS = 3
LEARNING_RATE = 1e-4
GEMM_SIZE, GEMM_REPEATS = 8192, 20
IGNORED_LABEL = -100
END = 1
OURS, PEER = "ours", "PEFT + transformers"
Side = Callable[[PeftModel, torch.optim.Optimizer, Sequence[Pack]], None]


@dataclasses.dataclass(frozen=True)
class Round:
    """The measured steps of a side."""

    step_ms: list[float]
    gib_peak: float | None
    """Of the GPU's memory; None without a GPU."""


def some_turns(num_lists: int, vocabulary: int, seed: int) -> list[TurnTokens]:
    """Turns of random tokens, several to each tool list."""
    rng = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [rng.randrange(2, vocabulary) for _ in range(count)]

    turns = []
    for _ in range(num_lists):
        tools = [*ids(LIST_TOKENS), END]
        for _ in range(TURNS_PER_LIST):
            prompt, said = [*tools, *ids(rng.randint(*HISTORY_TOKENS))], [*ids(rng.randint(*SAID_TOKENS)), END]
            decision = (len(prompt), len(prompt) + len(said))
            turns.append(TurnTokens("", 1, (*prompt, *said), len(prompt), len(prompt), calls=True, decision=decision))
    return turns


def new_model(shape: str, device: torch.device, *, ours: bool) -> PeftModel:
    """Random weights with a LoRA adapter, in bfloat16 on a GPU; `ours` has the trainer's layer in place of PEFT's."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape], tie_word_embeddings=False))
    finally:
        torch.set_default_dtype(before)
    lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS))
    if ours:
        lora._register_custom_module({torch.nn.Linear: LAYERS["triton" if device.type == "cuda" else "torch"]})
    return get_peft_model(model, lora).train()


def our_step(model: PeftModel, optimizer: torch.optim.Optimizer, packs: Sequence[Pack]) -> None:
    """As the trainer does it, but for the control tokens' embeddings, which neither side trains here."""
    train_step(model, optimizer, packs, LEARNING_RATE, alone, out_of_memory)


def peer_step(model: PeftModel, optimizer: torch.optim.Optimizer, packs: Sequence[Pack]) -> None:
    """The same turns, padded to the longest, through the model's own loss: what a training loop by the book does."""
    turns = [torch.tensor(turn.ids, device=model.device) for packed in packs for turn in packed.turns]
    prompts = [turn.num_prompt for packed in packs for turn in packed.turns]
    labels = [turn.clone() for turn in turns]
    for label, num_prompt in zip(labels, prompts, strict=True):
        label[:num_prompt] = IGNORED_LABEL
    ids = pad_sequence(turns, batch_first=True)
    mask = pad_sequence([torch.ones_like(turn) for turn in turns], batch_first=True)
    optimizer.zero_grad()
    padded = pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL)
    loss: Tensor = model(input_ids=ids, attention_mask=mask, labels=padded, use_cache=False).loss
    loss.backward()
    clip_grad_norm_(trainable_parameters(model).values(), MAX_GRADIENT_NORM)
    optimizer.step()


def measure(step: Side, shape: str, steps: Sequence[Sequence[Pack]], device: torch.device, *, ours: bool) -> Round:
    """Time a side's steps on a model of its own, after some to warm up."""
    model = new_model(shape, device, ours=ours)
    if ours:
        use_prefix_tree_attention(model.get_base_model())
    optimizer = torch.optim.AdamW(trainable_parameters(model).values(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = []
    for packs in steps:
        _finish(device)
        started = time.perf_counter()
        step(model, optimizer, packs)
        _finish(device)
        taken.append(1000 * (time.perf_counter() - started))
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    del model, optimizer
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Round(taken[WARM_UP_STEPS:], peak)


def gemm_flops_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """The most operations per second that a large matrix product reaches on this device: the best of some repeats."""
    size = GEMM_SIZE if device.type == "cuda" else GEMM_SIZE // 8
    left, right = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(GEMM_REPEATS):
        _finish(device)
        started = time.perf_counter()
        left @ right
        _finish(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def report(shape: str, device: torch.device, num_tokens: int, num_steps: int, num_rounds: int) -> str:
    """Run both sides in turn and say what was found."""
    vocabulary = SHAPES[shape]["vocab_size"]
    assert isinstance(vocabulary, int)
    steps = _steps(num_tokens, num_steps, vocabulary)
    peak = gemm_flops_per_s(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    sides: dict[str, list[Round]] = {OURS: [], PEER: []}
    for _ in range(num_rounds):
        sides[OURS].append(measure(our_step, shape, steps, device, ours=True))
        sides[PEER].append(measure(peer_step, shape, steps, device, ours=False))
    needed = statistics.mean(_flops(shape, packs) for packs in steps[WARM_UP_STEPS:])
    tokens = [sum(packed.num_tokens for packed in packs) for packs in steps]
    unshared = [sum(packed.num_unshared_tokens for packed in packs) for packs in steps]
    lines = ["| | ms per step, median | MFU | GiB at most |", "|---|---|---|---|"]
    for name, rounds in sides.items():
        medians = [statistics.median(each.step_ms) for each in rounds]
        used = [needed / (each / 1000) / peak for each in medians]
        memory = "unmeasured" if rounds[0].gib_peak is None else spread([each.gib_peak or 0 for each in rounds], 1)
        lines.append(f"| {name} | {spread(medians, 1)} | {spread(used, 2)} | {memory} |")
    ratios = [
        statistics.median(two.step_ms) / statistics.median(one.step_ms)
        for one, two in zip(sides[OURS], sides[PEER], strict=True)
    ]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    return f"""\
{shape}, random weights, LoRA of rank {RANK} on every linear layer, {"bfloat16" if device.type == "cuda" else "float32"}, on \
{name}. A step takes up to {num_tokens:,} packed tokens ({statistics.mean(tokens):,.0f} on average, \
{statistics.mean(unshared):,.0f} unshared), {num_steps} steps after {WARM_UP_STEPS} to warm up, {num_rounds} rounds, the sides \
in turn. Both take the same turns, keep all activations and use fused AdamW. The peer pads them in one batch.

{chr(10).join(lines)}

Peer over ours: {spread(ratios, 2)}. MFU of both counts the operations that the packed turns need \
(`aria_ray/machine/flops.py`), by the most that one large matrix product reached in this run, {peak / 1e12:,.2f} TFLOP/s.
"""


def _steps(num_tokens: int, num_steps: int, vocabulary: int) -> list[list[Pack]]:
    wanted = WARM_UP_STEPS + num_steps
    turns = some_turns(wanted * (1 + num_tokens // LIST_TOKENS), vocabulary, seed=0)
    groups = group_turns(turns, num_tokens, random.Random(0))
    return [[pack(group)] for group in groups[:wanted]]


def _flops(shape: str, packs: Sequence[Pack]) -> int:
    return lora_step_flops(
        DecoderShape.of(SHAPES[shape]),
        RANK,
        TARGETS,
        num_tokens=sum(packed.num_tokens for packed in packs),
        num_attention_pairs=sum(packed.num_attention_pairs for packed in packs),
        num_supervised=sum(packed.num_targets for packed in packs),
    )


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.1-8b", help="model shape (llama-3.1-8b)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cuda (also for ROCm) or cpu")
    parser.add_argument("--tokens", type=int, default=2048, help="packed tokens of a step (2048)")
    parser.add_argument("--steps", type=int, default=10, help="measured steps of each side in a round (10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    options = parser.parse_args()
    longest = LIST_TOKENS + 1 + HISTORY_TOKENS[1] + SAID_TOKENS[1] + 1
    if options.steps < 1 or options.rounds < 1 or options.tokens < longest:
        raise SystemExit(f"--steps and --rounds must be at least 1, --tokens at least {longest}, the longest turn")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda: torch sees no GPU; run this on a machine with one, or try it with --device cpu --shape tiny"
        )
    device = torch.device(options.device)
    publish(
        "Training step on a GPU",
        lambda: report(options.shape, device, options.tokens, options.steps, options.rounds),
        (),
        options.write,
    )


if __name__ == "__main__":
    main()
