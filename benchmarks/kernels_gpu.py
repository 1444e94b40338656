"""LoRA layers on one GPU: our kernel against PEFT's layer with cuBLAS or hipBLASLt, in the shapes of Llama-3.1-8B.

    python benchmarks/kernels_gpu.py [--tokens 2048] [--rank 16] [--rounds 5] [--write]

Random inputs, in bfloat16. Without a GPU nothing is measured, and it says so. Prints Markdown.
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from results import publish, spread
from torch import Tensor, nn

from aria_ray.training.lora import FusedLoraLinear

KINDS = {"q, o": (4096, 4096, 2), "k, v": (4096, 1024, 2), "gate, up": (4096, 14336, 2), "down": (14336, 4096, 1)}
"""Inputs, outputs and number per block of each kind of layer (Llama-3.1-8B's config.json)."""
GOAL = 1.2
OURS, PEER, PEER_BF16 = "ours", "PEFT", "PEFT, adapter in bfloat16"
LARGEST_ERROR = 0.02
"""Largest relative difference of y or a gradient from the peer's: the speed of a wrong result is not measured."""


class OneLayer(nn.Module):
    """Module with one named linear layer, as PEFT puts adapters on layers by name."""

    def __init__(self, inputs: int, outputs: int, device: torch.device) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs, bias=False, device=device, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """(T, I) to (T, O)."""
        return self.proj(x)


def layers(inputs: int, outputs: int, rank: int, device: torch.device) -> dict[str, nn.Module]:
    """The same layer with the same adapter, computed by each side."""
    made = {}
    for name, layer, finer in ((OURS, FusedLoraLinear, True), (PEER, Linear, True), (PEER_BF16, Linear, False)):
        torch.manual_seed(0)
        lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["proj"], init_lora_weights=False)
        lora._register_custom_module({nn.Linear: layer})
        made[name] = get_peft_model(OneLayer(inputs, outputs, device), lora, autocast_adapter_dtype=finer).train()
    return made


def gradients(layer: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    """y, and the gradients of x and the adapter."""
    wanted = [x, *(each for each in layer.parameters() if each.requires_grad)]
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, wanted, grad)]


def largest_error(layers: dict[str, nn.Module], x: Tensor, grad: Tensor) -> float:
    """The most that our result or a gradient is off the peer's, relative to its norm."""
    pairs = zip(gradients(layers[OURS], x, grad), gradients(layers[PEER], x, grad), strict=True)
    return max(((ours - theirs).float().norm() / theirs.float().norm()).item() for ours, theirs in pairs)


def median_ms(run: Callable[[], object]) -> float:
    """Median time of many runs in ms, with the L2 cache emptied before each."""
    from triton.testing import do_bench

    return float(do_bench(run, return_mode="median"))


def measure(kind: str, num_tokens: int, rank: int, num_rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of forward and backward for each side and round; the sides take turns."""
    inputs, outputs, _ = KINDS[kind]
    sides = layers(inputs, outputs, rank, device)
    x = torch.randn(num_tokens, inputs, device=device, dtype=torch.bfloat16, requires_grad=True)
    grad = torch.randn(num_tokens, outputs, device=device, dtype=torch.bfloat16)
    error = largest_error(sides, x, grad)
    if not error < LARGEST_ERROR:
        raise SystemExit(f"{kind}: ours is {error:.3f} off PEFT's result, must be below {LARGEST_ERROR}")
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_rounds):
        for name, layer in sides.items():
            taken[name].append(median_ms(lambda layer=layer: gradients(layer, x, grad)))
    return taken


def report(num_tokens: int, rank: int, num_rounds: int) -> str:
    """Section with the times of every kind of layer."""
    about = f"One LoRA layer of rank {rank} over {num_tokens:,} tokens in bfloat16, forward and backward, on random inputs"
    if not torch.cuda.is_available():
        return f"{about}: unmeasured, torch sees no GPU here. The goal is {GOAL} times PEFT's speed.\n"
    device = torch.device("cuda")
    times = {kind: measure(kind, num_tokens, rank, num_rounds, device) for kind in KINDS}
    times["a block's seven"] = {
        side: [sum(KINDS[kind][2] * times[kind][side][number] for kind in KINDS) for number in range(num_rounds)]
        for side in (OURS, PEER, PEER_BF16)
    }
    rows = [table_row(kind, taken) for kind, taken in times.items()]
    return f"""\
{about}, on {torch.cuda.get_device_name(device)}: ms, medians of `triton.testing.do_bench`, {num_rounds} rounds, the sides in \
turn; mean, least and most of the rounds. PEFT's layer runs on the vendor's library, with A and B in float32 as it comes, and \
in bfloat16. The goal is {GOAL} times the speed of PEFT as it comes.

| layer | {OURS} | {PEER} | {PEER_BF16} | {PEER} over ours | {PEER_BF16}, over ours |
|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def table_row(kind: str, taken: dict[str, Sequence[float]]) -> str:
    """Row of the table for one kind of layer."""
    ratios = [[theirs / ours for ours, theirs in zip(taken[OURS], taken[peer], strict=True)] for peer in (PEER, PEER_BF16)]
    times = [spread(taken[side], 3) for side in (OURS, PEER, PEER_BF16)]
    return f"| {kind} | {' | '.join([*times, *(spread(each, 2) for each in ratios)])} |"


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=2048, help="rows of x (2048)")
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapter (16)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    options = parser.parse_args()
    if min(options.tokens, options.rank, options.rounds) < 1:
        raise SystemExit("--tokens, --rank and --rounds must be 1 or more")
    publish("LoRA layers on a GPU", lambda: report(options.tokens, options.rank, options.rounds), (), options.write)


if __name__ == "__main__":
    main()
