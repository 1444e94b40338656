"""Curriculum LoRA training. `loop` is plain PyTorch; `train` puts it on Ray Train's workers."""
