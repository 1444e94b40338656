"""Curriculum training of a LoRA adapter, from the dataset to the merged model.

The surface, imported from its module (nothing is imported here, because that would load torch and Ray with every light import):

- `stage`: `train`, the stage as the pipeline runs it, and `training_inputs`, which decide its fingerprint.
- `base_model`: `prepare_base`, the directory of the base model.
- `base_check`: `check_base`, whether it can be trained; `exactness`, whether training computes what the model itself does.
- `train`: `train_curriculum`, the whole curriculum on Ray Train.
- `memory_baseline`: `full_finetuning_peak_gib`, the memory of full fine-tuning.
- `model`: `load_tokenizer`, `load_model`, `write_merged` and `is_merged`. `forward`: a packed row through its own code.
- `loop`: `train_step` and `evaluate`, plain PyTorch, for use without Ray.

Ray is imported by `train`, `network` and `memory_baseline` alone.
"""
