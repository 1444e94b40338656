"""API keys: where they are read from, how they are compared, and what must not happen without them."""

from pathlib import Path

import pytest

from aria_ray.errors import ServingError
from aria_ray.serving.keys import KEYS_VARIABLE, check_reachable, digest, is_loopback, known_digest, read_keys

ONE, TWO = "a" * 16, "b" * 24


def test_keys_come_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the team\n{TWO}\n\n{ONE}\n")
    assert read_keys(str(file), {KEYS_VARIABLE: f" {ONE} ,"}) == (ONE, TWO)
    assert read_keys(None, {}) == ()


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(ServingError, match="has no key"):
        read_keys(str(file), {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"{tmp_path}/nowhere.*No such file"):
        read_keys(str(tmp_path / "nowhere"), {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(ServingError, match="not UTF-8"):
        read_keys(str(tmp_path / "binary"), {})


@pytest.mark.parametrize("key", ["short", "with a space in it", "ключ-из-кириллицы-тут"])
def test_a_bad_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ServingError, match=r"API key 2 of 2 .*16 or more") as raised:
        read_keys(None, {KEYS_VARIABLE: f"{ONE},{key}"})
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "owner"),
    [
        (f"Bearer {ONE}", ONE),
        (f"bearer  {TWO} ", TWO),
        (f"Basic {ONE}", None),
        (ONE, None),
        ("Bearer", None),
        ("", None),
        (f"Bearer {ONE}x", None),
        ("Bearer \udcff", None),
    ],
)
def test_only_a_known_bearer_token_is_somebody(header: str, owner: str | None) -> None:
    known = [digest(ONE), digest(TWO)]
    assert known_digest(header, known) == (owner and digest(owner))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_reachable(host, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "example.org", "localhost.example.org", "127.0.0.1.example.org"])
def test_any_other_address_needs_one(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ServingError, match=f"{host}.*needs API keys.*127.0.0.1"):
        check_reachable(host, [])
    check_reachable(host, [ONE])
