"""An endpoint that is given by its address: the name of the model that it lists."""

import httpx
from pydantic import SecretStr, ValidationError

from aria_ray.errors import ServingError
from aria_ray.records import Endpoint
from aria_ray.validation.protocol import ModelList

TIMEOUT_S = 30.0


def find_endpoint(url: str, model: str | None, api_key: SecretStr | None) -> Endpoint:
    """The endpoint at `url` (which ends in `/v1`) with the model of that name, or with the first that it lists.

    Raises:
        ServingError: the endpoint cannot be reached, refuses the key, or does not serve that model.
    """
    wanted = Endpoint(base_url=url.rstrip("/"), model=model or "", api_key=api_key)
    try:
        response = httpx.get(f"{wanted.base_url}/models", headers=wanted.headers, timeout=TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServingError(f"--endpoint '{url}' cannot be reached ({error})", "give the address that ends in /v1") from None
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ServingError(
            f"--endpoint '{url}' refuses the request (HTTP {response.status_code})",
            "name the variable with its key by --key-env",
        )
    try:
        names = [model.id for model in ModelList.model_validate_json(response.raise_for_status().content).data]
    except (httpx.HTTPError, ValidationError):
        raise ServingError(
            f"--endpoint '{url}' does not list its models (HTTP {response.status_code} at {wanted.base_url}/models)",
            "give the address of an OpenAI-compatible API, ending in /v1",
        ) from None
    if not names or (model and model not in names):
        raise ServingError(
            f"--endpoint '{url}' serves {', '.join(names) or 'no model'}, not '{model or 'any'}'",
            "name one of those with --model",
        )
    return wanted.model_copy(update={"model": model or names[0]})
