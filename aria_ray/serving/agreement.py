"""Whether a recipe and the Ray Serve config that it names agree on the model and on the machine.

The two files repeat four facts, because `serve run` reads the Serve config without a recipe: number format, length, kind of
processor, and whether the self-check runs. A wrong pair would only show after training, as an engine that does not start or as
a model that is measured in another format than it was trained in.

The check is here and not in `config.schema`, which must stay importable without this package. What a recipe contradicts by
itself is checked there.
"""

from collections.abc import Iterator

from aria_ray.config import RunConfig
from aria_ray.errors import ConfigError
from aria_ray.serving.app import AppArgs, parse_args
from aria_ray.serving.serve_file import read_config

_DTYPES = {"half": "float16", "float": "float32"}
"""Second names that vLLM has for a number format."""


def check_agreement(config: RunConfig) -> None:
    """Refuse a recipe that its Serve config contradicts.

    Raises:
        ConfigError: a value of the recipe and one of the Serve config cannot both hold; names both, and both places.
        ServingError: the Serve config is missing or wrong by itself.
    """
    for contradiction in contradictions(config):
        raise contradiction


def contradictions(config: RunConfig) -> Iterator[ConfigError]:
    """Everything in which the recipe and its Serve config cannot both hold.

    Raises:
        ServingError: the Serve config is missing or wrong by itself.
    """
    args = parse_args(read_config(config.serving.file)["applications"][0]["args"])
    for found in (_dtype(config, args), _length(config, args), *_accelerators(config, args), _self_check(config, args)):
        if found is not None:
            yield found


def _dtype(config: RunConfig, args: AppArgs) -> ConfigError | None:
    """`auto`, vLLM's default, is what the model's own config says, which is what training wrote."""
    served, trained = args.engine_kwargs.get("dtype", "auto"), config.model.dtype
    if served == "auto" or (isinstance(served, str) and _DTYPES.get(served, served) == trained):
        return None
    return _contradiction(config, "model.dtype", trained, "engine_kwargs.dtype", served, "a model is served as it was trained")


def _length(config: RunConfig, args: AppArgs) -> ConfigError | None:
    longest, trained = args.engine_kwargs.get("max_model_len"), config.training.max_tokens
    if longest is None or longest == -1:  # vLLM takes the model's own
        return None
    if isinstance(longest, int) and trained <= longest:
        return None
    if not isinstance(longest, int):
        rule = "only a length in digits can be compared"
        return _contradiction(config, "training.max_tokens", trained, "engine_kwargs.max_model_len", longest, rule)
    rule = "the endpoint must take as many tokens as training packs into a row"
    return _contradiction(config, "training.max_tokens", trained, "engine_kwargs.max_model_len", longest, rule)


def _accelerators(config: RunConfig, args: AppArgs) -> Iterator[ConfigError]:
    trained_on_gpu, meant = config.training.use_gpu, config.hardware.accelerator
    if trained_on_gpu != (args.accelerator == "gpu"):
        rule = "training and engines need the same kind of processor"
        yield _contradiction(config, "training.use_gpu", str(trained_on_gpu).lower(), "accelerator", args.accelerator, rule)
    # Ray's names hold ours: H100, AMD-Instinct-MI300X-OAM.
    elif args.accelerator_type and meant != "cpu" and meant not in args.accelerator_type.lower():
        rule = "the GPU that the recipe is for must be the one that an engine asks for"
        yield _contradiction(config, "hardware.accelerator", meant, "accelerator_type", args.accelerator_type, rule)


def _self_check(config: RunConfig, args: AppArgs) -> ConfigError | None:
    """The recipe may turn off a check that the Serve config has. It may not ask for one that the Serve config turns off."""
    if args.self_check or not config.serving.self_check:
        return None
    rule = "the recipe asks for a check that no engine would make"
    return _contradiction(config, "serving.self_check", "true", "self_check", "false", rule)


def _contradiction(config: RunConfig, ours: str, value: object, theirs: str, other: object, rule: str) -> ConfigError:
    file = config.serving.file
    return ConfigError(
        f"{ours} ({value}) of the recipe contradicts args.{theirs} ({other}) of serving.file {file}: {rule}",
        f"set {ours}, or name another Serve config, such as a copy of this one with its {theirs} changed",
    )
