"""Plans: what a recipe needs of hardware and can expect of it, before any of it is booked (`aria plan`).

The surface, imported from its module (nothing is imported here, so that a light import stays light):

- `plan`: `find_hardware`, and `plan`, which makes a `Plan`.
- `render`: `render_plan`, the page of text.
- `model_sizes`: `model_size` and `ModelSize`; `cached_config`, the `config.json` in the Hub's cache.
- `reference_speeds`: `reference_speeds`, published and measured speeds with their bounds and sources.
- `memory`: `lora_training`, `full_training`, `serving`, the memory of one device by part.

`estimates` and `attainability` hold the parts of a plan, for `plan` alone.
"""
