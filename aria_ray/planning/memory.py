"""Peak memory of training and serving by part, computed from sizes alone.

The parts are those of this project's own training: one packed row at a time, base weights in the model's type, adapter and
optimizer in float32, logits of `LOGIT_ROWS` positions at a time. Left out, and unmeasured on GPUs: the driver's context, the
workspaces of libraries, fragmentation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray.errors import AriaError
from aria_ray.machine.roofline import Precision
from aria_ray.planning.model_sizes import ModelSize

GIB = 2**30
TYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
LOGIT_ROWS = 256
"""Supervised positions whose logits training holds at a time: 50 MB of them with a vocabulary of 49,000 tokens."""
GATHERED_LAYERS = 2
"""Decoder layers that FSDP2 gathers at a time: the current one, and the next one, which it prefetches."""
_INPUT_GROUPS = (
    {"q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value"},
    {"gate_proj", "up_proj", "gate_up_proj", "dense_h_to_4h", "fc1"},
    {"down_proj", "dense_4h_to_h", "fc2"},
)
"""Linear layers that share one input. The projection after attention has attention's result, which is kept anyway."""
UTILIZATION = 0.9
"""Share of a GPU's memory that the engine uses (`gpu_memory_utilization` in the Serve files)."""


@dataclass(frozen=True)
class Memory:
    """Memory of one device in bytes: the parts that are needed, and the capacity."""

    part_bytes: Mapping[str, float]
    capacity_bytes: float

    @property
    def total_bytes(self) -> float:
        """Sum of all parts."""
        return sum(self.part_bytes.values())

    @property
    def free_bytes(self) -> float:
        """Capacity minus the sum of the parts; negative where memory is missing."""
        return self.capacity_bytes - self.total_bytes

    @property
    def fits(self) -> bool:
        """Whether the parts fit into the capacity."""
        return self.free_bytes >= 0


@dataclass(frozen=True)
class TrainingWork:
    """Sizes of one worker's training that its memory depends on."""

    row_tokens: int
    """Tokens of the longest packed row."""
    dtype: str
    rank: int
    target_modules: Collection[str]
    num_workers: int = 1
    parallelism: Literal["ddp", "fsdp"] = "ddp"
    kernels: Literal["triton", "torch"] = "torch"


def lora_training(model: ModelSize, work: TrainingWork, capacity_bytes: float) -> Memory:
    """Memory of training a LoRA adapter: frozen base weights, and 16 bytes for each parameter of the adapter.

    PEFT keeps an adapter in float32 whatever the type of the base model. Each parameter has a gradient and two averages (AdamW,
    arXiv 1711.05101) of the same type. With DDP every worker holds everything, and the gradients a second time as one flat
    tensor that is summed over the workers. With FSDP2 every worker holds its part of each decoder layer, adapter and optimizer
    included (as in ZeRO, arXiv 1910.02054), all of embeddings and head, and two gathered layers.
    """
    size = TYPE_BYTES[work.dtype]
    adapter = 4 * model.adapter_weights(work.rank, work.target_modules)
    layers, tables = size * model.linear_weights, size * (model.num_parameters - model.linear_weights)
    share = 1 if work.parallelism == "ddp" else work.num_workers
    parts = {
        "base weights": layers / share + tables,
        "adapter": adapter / share,
        "gradients": adapter / share,
        "optimizer": 2 * adapter / share,
        "flat gradients": adapter if share == 1 else 0.0,
        "gathered layers": 0.0 if share == 1 else GATHERED_LAYERS * (layers + adapter) / model.shape.num_layers,
        "activations": _activations(model, work, lora_layer_bytes(model, work)),
        "logits": _logits(model, work),
    }
    return _without_empty(parts, capacity_bytes)


def full_training(model: ModelSize, work: TrainingWork, capacity_bytes: float) -> Memory:
    """Memory of training every weight with AdamW on one device: 16 bytes or more for each weight, and the row's activations.

    In float32: weight, gradient and two averages, and the gradients a second time as one flat tensor, as for LoRA. In bfloat16
    the usual mixed precision: weight and gradient in 16 bits, a copy of the weight and two averages in 32 bits (ZeRO, arXiv
    1910.02054, section 3.1). The project's own baseline keeps the averages in the model's type and has no copy: half of that.
    """
    size = TYPE_BYTES[work.dtype]
    number = model.num_parameters
    parts = {
        "weights": size * number,
        "gradients": size * number,
        "optimizer": 8 * number if size == 4 else 12 * number,
        "flat gradients": size * number if size == 4 else 0.0,
        "activations": _activations(model, work, full_layer_bytes(model, work)),
        "logits": _logits(model, work),
    }
    return _without_empty(parts, capacity_bytes)


def lora_layer_bytes(model: ModelSize, work: TrainingWork) -> float:
    """Bytes per token that one decoder layer with a LoRA adapter keeps for the backward pass.

    These are the inputs of the norms (always float32) and of the linear layers, queries, keys, values, the result of attention,
    and three tensors of the MLP. In bfloat16 with the torch kernels, which are PEFT's own, each adapted layer also keeps
    float32 copies of its input and of the low-rank product; with the Triton kernels it keeps the product alone, in bfloat16.
    In float32 it keeps neither.
    """
    shape, size = model.shape, TYPE_BYTES[work.dtype]
    layers, targets = shape.linear_layers, set(work.target_modules)
    queries, keys = shape.query_size, shape.key_size
    common = 4 * 2 * shape.hidden_size + 4 * (shape.num_heads + 2)  # norms' inputs; log-sums of attention, norms' scales
    attention, inner = 2 * queries + 2 * keys, 3 * shape.intermediate_size
    if size < 4 and work.kernels == "torch":
        copied = sum(layers[name][0] for name in targets)
        return common + size * (attention + inner) + 4 * (copied + work.rank * len(targets))
    inputs = sum(layers[min(group & targets)][0] for group in _INPUT_GROUPS if group & targets)
    thin = work.rank * len(targets) if work.kernels == "triton" else 0
    return common + size * (attention + inner + inputs + thin)


def full_layer_bytes(model: ModelSize, work: TrainingWork) -> float:
    """Bytes per token that one decoder layer keeps for the backward pass when every weight is trained.

    As with LoRA in float32, and also the norms' results before their weights. The inputs of the norms are always float32.
    """
    shape, size = model.shape, TYPE_BYTES[work.dtype]
    kept = 4 * shape.hidden_size + 2 * shape.query_size + 2 * shape.key_size + 4 * shape.intermediate_size
    return 4 * 2 * shape.hidden_size + size * kept + 4 * (shape.num_heads + 2)


def _without_empty(parts: Mapping[str, float], capacity_bytes: float) -> Memory:
    return Memory({name: part for name, part in parts.items() if part}, capacity_bytes)


def _activations(model: ModelSize, work: TrainingWork, layer_bytes: float) -> float:
    """Bytes of a row's activations: those that every layer keeps, and the input of the last norm."""
    return work.row_tokens * (model.shape.num_layers * layer_bytes + 4 * model.shape.hidden_size)


def _logits(model: ModelSize, work: TrainingWork) -> float:
    """Bytes of one chunk in the backward pass: log-probabilities and two gradients in float32, one in the model's type."""
    size = TYPE_BYTES[work.dtype]
    rows = min(LOGIT_ROWS, work.row_tokens)
    return float(rows * model.shape.vocabulary_size * (12 + (size if size < 4 else 0)))


def serving_weight_bytes(model: ModelSize, precision: Precision) -> float:
    """Bytes of all weights; embedding, output head and norms are in the head's type."""
    rest = model.num_parameters - model.linear_weights
    return float(model.linear_weights * precision.linear_bytes + rest * precision.head_bytes)


def kv_bytes_per_token(model: ModelSize, precision: Precision) -> int:
    """Bytes of the keys and values of one token in all layers."""
    return model.kv_values_per_token * precision.kv_bytes


def serving(
    model: ModelSize, precision: Precision, *, streams: int, context_tokens: int, batched_tokens: int, capacity_bytes: float
) -> Memory:
    """Memory of one engine that serves `streams` streams of `context_tokens` each.

    The activation reserve is for `batched_tokens`, the most that one step computes (vLLM's `max_num_batched_tokens`): their
    residual stream and the gate and up products of one MLP, in the head's type, and the logits of every stream in float32.
    `capacity_bytes` is the part of the device's memory that the engine may use.

    Raises:
        AriaError: a number is below one.
    """
    if min(streams, context_tokens, batched_tokens) < 1:
        raise AriaError(
            f"streams ({streams}), context ({context_tokens}) and batched tokens ({batched_tokens}) must be 1 or more"
        )
    shape = model.shape
    kept = 2 * shape.hidden_size + 2 * shape.intermediate_size
    reserve = batched_tokens * kept * precision.head_bytes + 4 * streams * shape.vocabulary_size
    parts = {
        "weights": serving_weight_bytes(model, precision),
        "keys and values": float(streams * context_tokens * kv_bytes_per_token(model, precision)),
        "activation reserve": float(reserve),
    }
    return Memory(parts, capacity_bytes)


def most_streams(model: ModelSize, precision: Precision, *, context_tokens: float, capacity_bytes: float) -> int:
    """Number of streams of a mean context whose keys and values fit beside the weights; 0 if the weights alone do not fit."""
    left = capacity_bytes - serving_weight_bytes(model, precision)
    return max(0, int(left / (context_tokens * kv_bytes_per_token(model, precision))))
