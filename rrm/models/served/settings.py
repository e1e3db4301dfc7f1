"""How a served model is reached, what may be spent on it, and what a request says."""

from __future__ import annotations

import os
import re
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator

from rrm.errors import PlanError, SettingsError
from rrm.records import Record

Form = Literal["schema", "object", "text"]
FORMS: Final[tuple[Form, ...]] = ("schema", "object", "text")
"""How a server is asked for JSON, from the strictest on: by a schema, as any object, or in words alone."""

OURS: Final = frozenset(
    {"model", "messages", "temperature", "seed", "response_format", "stream", "n"}
    | {"max_tokens", "max_completion_tokens"}
)

UNKEYED: Final = (
    "key", "timeout", "retries", "wait", "give_up", "concurrency", "requests_per_minute", "tokens_per_minute",
    "price_in", "price_out", "budget_money", "budget_tokens",
)  # fmt: skip
"""How fast it is asked, by whose leave, and for how much: nothing that is said depends on these."""


class ServedSettings(Record):
    """What the assistant and the evaluator `chat` have in common."""

    model: str = Field(min_length=1)
    """The model's name, as the server has it."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Where the server is, up to and with `/v1`."""
    key: str = ""
    """Name of the environment's variable that holds the key. Empty: none is sent."""
    instructions: str = ""
    """What the model is told of the task first, in words of the plan."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=512, ge=1)
    """Longest reply."""
    limit_as: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls that."""
    send_seed: bool = True
    """Whether a seed is sent with each sample; a server that knows none may refuse it."""
    structured: Literal["auto", "schema", "object", "text"] = "auto"
    """How JSON is asked for. "auto": by a schema, and where the server refuses that, more loosely."""
    reason: bool = True
    """Whether the model gives its reasons before it answers."""
    longest: int = Field(default=8000, ge=100)
    """Characters of a question, an answer or an exhibit that the model is shown; of longer ones, both ends."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """More keys of the request, such as top_p."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds for one request, from its start to the last byte of the reply."""
    retries: int = Field(default=6, ge=0)
    """How often a request is made again that failed at the server."""
    wait: float = Field(default=1.0, gt=0)
    """Seconds before the first of them, at most; each time twice as long, up to a minute, and drawn from below that."""
    give_up: int = Field(default=5, ge=1)
    """Requests in a row that failed, each after all its retries, with which the run stops."""
    concurrency: int = Field(default=8, ge=1, le=1000)
    """Requests under way at one time, in each process that trains."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    price_in: float = Field(default=0.0, ge=0)
    """Money for a million tokens of requests."""
    price_out: float = Field(default=0.0, ge=0)
    """Money for a million tokens of replies."""
    budget_money: float | None = Field(default=None, gt=0)
    """The most that all requests of the run may cost: before it is passed, the run stops."""
    budget_tokens: int | None = Field(default=None, ge=1)
    """The same in tokens of requests and replies."""

    # What is raised here does not repeat the value, as pydantic would: somebody may have written a secret.
    @field_validator("key", mode="before")
    @classmethod
    def _no_secret(cls, value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]{0,63})?", value):
            raise SettingsError(
                "'chat', key: this should be the name of the environment's variable that holds the key, such as "
                "OPENAI_API_KEY, and never the key itself"
            )
        return value

    @field_validator("base_url", mode="before")
    @classmethod
    def _plain_url(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            parts = urlsplit(value)
            plain = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
            plain = plain and not parts.query and not parts.fragment and parts.port != 0
        except ValueError:
            plain = False
        if not plain or not value.isascii() or not value.isprintable() or " " in value:
            raise SettingsError(
                "'chat', base_url: this should be an address such as http://127.0.0.1:8000/v1, without a password, "
                "and without ? or #"
            )
        return value.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(OURS & value.keys()):
            raise ValueError(f"{taken[0]!r} has a setting of its own, or is rrm's to set")
        return value

    def forms(self, begin: Form | None = None) -> tuple[Form, ...]:
        """The ways to ask for JSON that may be tried, from the one that is known to work on."""
        if self.structured != "auto":
            return (self.structured,)
        return FORMS[FORMS.index(begin) :] if begin else FORMS


def check_served(settings: ServedSettings) -> None:
    """Raise PlanError where a budget could not be kept."""
    if settings.budget_money is not None and not settings.price_in and not settings.price_out:
        raise PlanError(
            "budget_money: what a request costs is not known: write price_in and price_out, for a million tokens each"
        )


def key_of(settings: ServedSettings) -> str:
    """The key, from the environment. Raises PlanError, which does not repeat it, where there is none to send."""
    if not settings.key:
        return ""
    found = os.environ.get(settings.key, "").strip()
    if not found:
        raise PlanError(f"'chat', key: the environment's variable {settings.key} is not set: export it, and run again")
    if not (found.isascii() and found.isprintable()):
        raise PlanError(f"'chat', key: what {settings.key} holds is no key: it has characters that no header may have")
    return found


def request(
    settings: ServedSettings,
    messages: tuple[tuple[str, str], ...],
    schema: dict[str, Any] | None,
    *,
    form: Form,
    temperature: float,
    seed: int | None,
) -> dict[str, Any]:
    """The body of a request, whole: what is known of it is known of nothing else."""
    body: dict[str, Any] = {
        **settings.extra,
        "model": settings.model,
        "messages": [{"role": role, "content": text} for role, text in messages],
        "temperature": temperature,
        settings.limit_as: settings.max_tokens,
    }
    if seed is not None and settings.send_seed:
        body["seed"] = seed
    if schema is not None and form == "schema":
        described = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    elif schema is not None and form == "object":
        body["response_format"] = {"type": "json_object"}
    return body
