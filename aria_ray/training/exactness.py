"""Proof that training computes what the model itself computes: the logits of packed rows against those of transformers.

A family whose multipliers, soft caps or windows were passed over would train without a word and be worse for it.
"""

import copy
import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from aria_ray.errors import TrainingError
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.batch import Pack, pack, shared_length
from aria_ray.training.forward import hidden_states, logits
from aria_ray.training.tokens import TurnTokens

MOST_DIFFERENCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Largest difference that rounding explains, as a share of the logits' spread, by type of the weights.

Float32 has 24 bits, and 2.5e-6 was measured for the 30 layers of SmolLM2-135M; norms are in float32 even where weights are in
float64. Bfloat16 has 8 bits, an error of 0.2 % in every sum of every layer, and 3.2 % was measured; 80 layers would have 1.6
times as much. What a family does otherwise changes logits by 20 % and more (GPT-J: 60 %), or by a factor (a multiplier of the
logits). The small model of `check_family` is in float32, so a smaller difference is seen there whatever the recipe's type."""
NUM_TOKENS = 160
"""Tokens of each of the sequences that are compared on the real model."""
WINDOW, VOCABULARY, INNER = 16, 256, 256
"""Sliding window, vocabulary and inner size of the small model of a family."""


def check_exactness(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> None:
    """Compare the logits of one packed row with those of the stock model for each sequence. Leaves our attention in use.

    Raises:
        TrainingError: they differ by more than rounding.
    """
    found, bound = difference(model, sequences), MOST_DIFFERENCE[model.dtype]
    if not found <= bound:  # a NaN is no agreement either
        raise TrainingError(
            f"{model.config.model_type}: logits in training differ from the model's own by {found:.2g} of their spread, and "
            f"rounding explains {bound:g}, so this family cannot be trained exactly",
            "give a base model of another family, for example Llama, Mistral, Qwen or Gemma",
        )


def difference(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> float:
    """Root of the mean square difference of the logits, divided by that of the stock model's logits around their mean.

    A constant added to all logits of a position is no difference, because it changes no probability. The largest of the
    sequences counts. The stock model computes each by itself, by its own attention code ("eager"), which leaves nothing out.
    """
    row = pack([_turn(ids) for ids in sequences])
    model.eval()
    with torch.no_grad():
        model.set_attn_implementation("eager")
        device = model.device
        stock = [model(input_ids=torch.tensor([turn.ids], device=device), use_cache=False).logits[0] for turn in row.turns]
        use_prefix_tree_attention(model)
        ours = logits(model, hidden_states(model, row)[0])
        pairs = zip(_paths(row), stock, strict=True)
        return max(_relative(ours[path], expected) for path, expected in pairs)


def branches(turns: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Three sequences of up to NUM_TOKENS tokens that share a beginning, made from the first two sequences of a dataset."""
    first, second = (tuple(turns[index % len(turns)]) for index in (0, 1))
    cut = NUM_TOKENS // 2
    return [first[:NUM_TOKENS], first[:cut] + second[: NUM_TOKENS - cut], first[: cut // 2] + second[-cut:]]


def check_family(config: PretrainedConfig) -> None:
    """Compare on a small random model of a base model's configuration, so that a family is refused in seconds.

    Raises:
        TrainingError: the logits differ, or the family's code takes no packed row.
    """
    rng = random.Random(0)
    start = [rng.randrange(VOCABULARY) for _ in range(2 * WINDOW)]
    sequences = [
        (*start[:shared], *(rng.randrange(VOCABULARY) for _ in range(own)))
        for shared, own in ((2 * WINDOW, 30), (2 * WINDOW, 20), (WINDOW // 2, 45))
    ]
    try:
        check_exactness(small_model(config), sequences)
    except (ValueError, TypeError, RuntimeError, AttributeError, LookupError, AssertionError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(
            f"{config.model_type}: this family's code in transformers takes no packed row ({reason[0][:120]})",
            "give a base model of another family, for example Llama, Mistral, Qwen or Gemma",
        ) from None


def small_model(config: PretrainedConfig) -> PreTrainedModel:
    """A random model with the options and widths of `config`, but one layer of each kind, a short window and few tokens."""
    small = copy.deepcopy(config)
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or []))
    number, before = max(2, len(kinds)), config.num_hidden_layers
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == before:
            setattr(small, name, value[:number])
    if kinds:
        small.layer_types = (kinds * 2)[:number]
    changes = {"num_hidden_layers": number, "vocab_size": VOCABULARY, "intermediate_size": INNER, "pad_token_id": None}
    if getattr(config, "sliding_window", None):
        changes["sliding_window"] = WINDOW
    for name, value in changes.items():
        if hasattr(small, name):
            setattr(small, name, value)
    model = AutoModelForCausalLM.from_config(small, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            # Large enough that attention chooses: with a library's initial 0.02 a wrong window would hardly be seen.
            parameter.add_(noise / 10) if parameter.dim() < 2 else parameter.copy_(noise * 1.5 * parameter.shape[-1] ** -0.5)
    return model


def _turn(ids: Sequence[int]) -> TurnTokens:
    """A sequence whose last token is supervised; what is supervised plays no part here."""
    end = len(ids)
    return TurnTokens("", 1, tuple(ids), end - 1, thought_end=end - 1, calls=False, decision=(end - 1, end))


def _paths(row: Pack) -> Iterator[list[int]]:
    """Indices in the row of each sequence's tokens, in the order of the row's sequences."""
    path: list[int] = []
    previous: Sequence[int] = ()
    end = 0
    for turn in row.turns:
        shared = shared_length(previous, turn.ids)
        path = [*path[:shared], *range(end, end + len(turn.ids) - shared)]
        end, previous = path[-1] + 1 if len(turn.ids) > shared else end, turn.ids
        yield path


def _relative(ours: Tensor, stock: Tensor) -> float:
    wide = torch.promote_types(stock.dtype, torch.float32)
    ours, stock = (each.to(wide) - each.to(wide).mean(dim=-1, keepdim=True) for each in (ours, stock))
    return float((ours - stock).norm() / stock.norm())
