"""What a training checkpoint holds: the adapter, the optimizer, and how far training has come. Adapter-only, so it is small."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from aria_ray.training.model import trainable_parameters
from aria_ray.training.settings import ADAPTER


@dataclass(frozen=True)
class Progress:
    """Where training stands: the next step to take is `step` of `stage`."""

    stage: int = 0
    step: int = 0
    best_loss: float | None = None
    """Lowest held-out loss so far."""
    evaluations_without_gain: int = 0
    """In the current stage."""
    transitions: tuple[dict[str, Any], ...] = field(default=())
    """What each finished stage came to."""

    def next_stage(self, transition: dict[str, Any]) -> "Progress":
        """The progress at the start of the next stage, with this stage's end recorded."""
        return replace(
            self, stage=self.stage + 1, step=0, evaluations_without_gain=0, transitions=(*self.transitions, transition)
        )


def save(directory: Path, model: PeftModel, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write a checkpoint into an empty directory."""
    model.save_pretrained(directory / ADAPTER, save_embedding_layers=False)
    parameters = trainable_parameters(model)
    state = optimizer.state_dict()["state"]
    tensors = {
        f"{name}|{key}": value
        for index, name in enumerate(parameters)
        for key, value in state.get(index, {}).items()
        if isinstance(value, torch.Tensor)
    }
    save_file(tensors, directory / "optimizer.safetensors")
    (directory / "progress.json").write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")


def restore(directory: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> Progress:
    """Load a checkpoint into a model and optimizer made the same way as those that wrote it."""
    weights = load_file(directory / ADAPTER / "adapter_model.safetensors")
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    assert set(weights) == expected, "the checkpoint's adapter has the shape of this configuration's"
    set_peft_model_state_dict(model, weights)
    tensors = load_file(directory / "optimizer.safetensors")
    names = {name: index for index, name in enumerate(trainable_parameters(model))}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for combined, value in tensors.items():
        name, key = combined.split("|")
        state.setdefault(names[name], {})[key] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
    stored = json.loads((directory / "progress.json").read_text(encoding="utf-8"))
    return Progress(**{**stored, "transitions": tuple(stored["transitions"])})
