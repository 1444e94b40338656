"""Everything that can be known about a base model before the first stage, found out in seconds and without its weights.

The model is built on PyTorch's meta device, where a weight has a shape and no values, by transformers' own loading code. So
names and shapes are compared as the training will compare them.
"""

from pathlib import Path
from pickle import UnpicklingError

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from aria_ray.config.schema import LoraConfig
from aria_ray.errors import TrainingError
from aria_ray.grammar import MARKERS
from aria_ray.planning.model_sizes import model_size
from aria_ray.training.base_files import check_files, check_kind
from aria_ray.training.exactness import check_family
from aria_ray.training.model import adapted_layers, load_tokenizer

LOADING = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    ImportError,
    AttributeError,
    RuntimeError,
    AssertionError,
    EOFError,
    UnpicklingError,
)
"""What transformers and torch raise for a directory that they cannot load; they have no class of their own for this."""
ANOTHER = "give a base model that writes text, for example Llama, Mistral, Qwen, Gemma, Granite, Phi-3 or SmolLM"


def check_base(base: Path, lora: LoraConfig) -> None:
    """Check that the model in a directory can be trained with this adapter.

    Raises:
        AriaError: it cannot: files are missing or damaged, weights are quantised, the family is none that training computes
            exactly, the tokenizer does not fit, or a target of the adapter is no layer.
    """
    config = _config(base)
    check_files(base)
    model = _empty_model(base, config)
    model_size(str(base))  # counts the layers, which an adapter must be able to reach
    adapted_layers(model, lora)
    _check_tokenizer(base, model)
    check_family(config)


def _config(base: Path) -> PretrainedConfig:
    """The configuration, of a kind of model that writes text and that transformers itself has the code of."""
    raw = check_kind(base)
    kind, (written, *_) = raw.get("model_type"), raw.get("architectures") or [None]
    if kind not in CONFIG_MAPPING:
        if raw.get("auto_map"):
            raise TrainingError(
                f"model.source {base}: model type '{kind}' needs code from its directory (auto_map), which is never run here",
                "give a model whose code is in transformers",
            )
        raise TrainingError(f"model.source {base}: model_type '{kind}' is unknown to the installed transformers", ANOTHER)
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    except LOADING as error:
        raise TrainingError(f"{base / 'config.json'} is not that of a model ({_line(error)})", "get the file again") from None
    of_text = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if config.get_text_config() is not config:
        raise TrainingError(f"model.source {base} holds a {written or kind}, a model of text and images or sound", ANOTHER)
    writes_text = not written or written == of_text or written.endswith("ForCausalLM")  # the class's name in other code
    if of_text is None or config.is_encoder_decoder or not writes_text:
        raise TrainingError(
            f"model.source {base} holds a {written or kind}, which does not write text token by token from text alone", ANOTHER
        )
    return config


def _empty_model(base: Path, config: PretrainedConfig) -> PreTrainedModel:
    """The model on the meta device, after a comparison of its weights' names and shapes with those of the files."""
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            base,
            config=config,
            trust_remote_code=False,
            device_map="meta",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the difference is found here, with its name
        )
    except LOADING as error:
        raise TrainingError(
            f"model.source {base}: transformers cannot load it ({_line(error)})", "give a directory that transformers can load"
        ) from None
    for name, shape, wanted in sorted(found["mismatched_keys"]):
        raise TrainingError(
            f"model.source {base}: weight {name} has the shape {tuple(shape)}, and config.json asks for {tuple(wanted)}",
            "give weights and config.json of the same model",
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise TrainingError(
            f"model.source {base}: weight {missing[0]}{_more(missing)} of a {type(model).__name__} is not in its files",
            "give a complete model, with its output head",
        )
    return model


def _check_tokenizer(base: Path, model: PreTrainedModel) -> None:
    try:
        plain = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        ours = load_tokenizer(base)
        there = [marker for marker in MARKERS if len(ours.encode(marker, add_special_tokens=False)) != 1]
    except LOADING as error:
        raise TrainingError(
            f"model.source {base}: its tokenizer cannot be loaded ({_line(error)})",
            "install the package that is named there, or get the tokenizer's files again",
        ) from None
    if there:
        raise TrainingError(f"model.source {base}: its tokenizer takes no new token ({there[0]})", ANOTHER)
    num_rows = model.get_input_embeddings().num_embeddings
    if plain.vocab_size > num_rows:  # without the tokens that were added to it, which get rows of their own
        raise TrainingError(
            f"model.source {base}: the tokenizer has {plain.vocab_size:,} tokens and the embedding {num_rows:,} rows, so the "
            "tokenizer is that of another model",
            "give the tokenizer that the weights were trained with",
        )


def _line(error: BaseException) -> str:
    """The first line of an error of a library, of which the rest is a tutorial."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
