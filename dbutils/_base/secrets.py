"""Passwords and other secrets: recognizing, hiding and comparing them."""

from __future__ import annotations

import hmac
import os
import re
from urllib.parse import quote

from .hints import Any, Iterable, Mapping

__all__ = [
    "Secret", "SecretDigest", "drop_secrets", "hide_secrets", "masked_url",
    "secrets_in", "wrap_secrets"]

_MASK = "***"
_NAMES = re.compile(
    "pass(w|ph)|pwd|secret|token|credential", re.IGNORECASE)
_QUERY = re.compile("([^?&=]+)=[^&]*")
# The text in front of a secret at the places where one is expected: the name
# of a parameter, and the user in a URL.
_PLACES = (
    rf"(?i:{_NAMES.pattern})\w*['\"]?\s*[=:]\s*['\"{{]?|://[^/@:\s]*:")
# A secret that begins or ends with a letter or digit must stand alone.
_NO_WORD_BEFORE = r"(?<!\w)|(?<=\\[nrt])"
_NO_WORD_AFTER = r"(?!\w)"
# A shorter secret can be an ordinary word of a message.
_SHORT = 4


def is_secret(name: Any) -> bool:
    """Return whether the name of a parameter suggests a secret.

    The keys of an option can be anything, such as those of converters.
    """
    return isinstance(name, str) and bool(_NAMES.search(name))


def masked_url(url: str) -> str:
    """Return a URL in which the passwords are masked."""
    start, mark, rest = url.partition("://")
    names, sign, place = rest.rpartition("@")
    user, colon, _ = names.partition(":")
    if colon:
        names = f"{user}:{_MASK}"
    place = _QUERY.sub(
        lambda match: f"{match[1]}={_MASK}" if is_secret(match[1])
        else match[0], place)
    return f"{start}{mark}{names}{sign}{place}"


class Secret(str):
    """A string whose repr does not show its text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MASK)


def wrap_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, with all secret texts as objects of Secret."""
    return {
        name: Secret(value) if is_secret(name) and isinstance(value, str)
        else wrap_secrets(value) if isinstance(value, Mapping) else value
        for name, value in options.items()}


def drop_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without the secret ones."""
    return {
        name: drop_secrets(value) if isinstance(value, Mapping) else value
        for name, value in options.items() if not is_secret(name)}


def secrets_in(options: Mapping[str, Any]) -> list[Any]:
    """Return the values of the secret options, sorted by their names."""
    found: list[Any] = []
    for name, value in sorted(options.items(), key=_shown_name):
        if is_secret(name):
            found.append(value)
        elif isinstance(value, Mapping):
            found += secrets_in(value)
    return found


def _shown_name(item: tuple[Any, Any]) -> str:
    return str(item[0])


class SecretDigest:
    """A salted digest that recognizes secrets without holding them.

    Equal secrets have different digests: each has its own salt.
    """

    def __init__(self, secrets: Iterable[Any]) -> None:
        self._salt = os.urandom(16)
        self._digest = self._digest_of(secrets)

    def _digest_of(self, secrets: Iterable[Any]) -> bytes:
        parts = [
            b"-" if secret is None else b"+" + str(secret).encode(
                "utf-8", "surrogatepass") for secret in secrets]
        text = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        return hmac.new(self._salt, text, "sha256").digest()

    def fits(self, secrets: Iterable[Any]) -> bool:
        """Return whether the secrets are the same, in constant time."""
        return hmac.compare_digest(self._digest, self._digest_of(secrets))


def hide_secrets(error: BaseException, secrets: Iterable[Any]) -> None:
    """Mask secrets in the arguments of an error and of its causes.

    A secret is masked where it stands alone, and at places where secrets are
    expected.  A short secret is only masked at the latter.
    """
    masks = [
        _Mask(form) for secret in secrets if secret
        for form in _forms_of(str(secret))]
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.args = tuple(_without(part, masks) for part in link.args)
            links += [link.__cause__, link.__context__]


def _forms_of(secret: str) -> list[str]:
    """Return the secret as it appears in texts, in URLs and in a repr."""
    forms = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
    return sorted(forms, key=len, reverse=True)


class _Mask:
    """Replaces a secret in texts by a mask."""

    def __init__(self, secret: str) -> None:
        self._length = len(secret)
        before, after = _PLACES, _NO_WORD_AFTER
        if len(secret) >= _SHORT:
            is_word = re.match(r"\w", secret)
            before = f"{_PLACES}|{_NO_WORD_BEFORE}" if is_word else ""
            after = _NO_WORD_AFTER if re.search(r"\w\Z", secret) else ""
        self._pattern = re.compile(f"(?:{before}){re.escape(secret)}{after}")

    def put_on(self, text: str) -> str:
        """Return a text with the secret masked."""
        return self._pattern.sub(
            lambda match: match[0][:-self._length] + _MASK, text)


def _without(part: Any, masks: list[_Mask]) -> Any:
    """Return an argument of an error with the secrets masked.

    Strings are masked.  Other objects are replaced by their masked repr if
    that would show a secret.
    """
    text = shown = part if isinstance(part, str) else repr(part)
    for mask in masks:
        shown = mask.put_on(shown)
    return part if shown == text else shown
