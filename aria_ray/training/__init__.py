"""Curriculum training of a LoRA adapter, from the dataset to the merged model.

The surface, imported from its module (nothing is imported here, because that would load torch and Ray with every light import):

- `base_model`: `prepare_base`, the directory of the base model.
- `train`: `train_curriculum`, the whole curriculum on Ray Train.
- `memory_baseline`: `full_finetuning_peak_gib`, what full fine-tuning takes instead.
- `model`: `load_tokenizer`, `load_model`, `write_merged` and `is_merged`.
- `loop`: `train_step` and `evaluate`, plain PyTorch, for use without Ray.

Ray is imported by `train`, `network` and `memory_baseline` alone.
"""
