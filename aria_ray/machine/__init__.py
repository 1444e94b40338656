"""Limits of machines: published specifications, measured peaks, operation counts of a Llama, and the roofline.

The surface, imported from its module:

- `specs`: `Accelerator`, `accelerator` by name, `measured_cpu`; every figure with its source.
- `peaks`: `measure_peaks` of this machine's processor.
- `flops`: `DecoderShape` and `lora_step_flops`.
- `roofline`: bounds of decoding, prompts, training steps and requests (`decode_bounds_at`, `prefill_s`, `train_step_s`, ...).
"""
