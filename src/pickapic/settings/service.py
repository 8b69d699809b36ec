"""Everything that a deployment may set, field by field."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pickapic.records import InputError
from pickapic.settings.generators import MINIATURE_GENERATORS, GeneratorChoice, parse_generators
from pickapic.settings.providers import ProviderChoice, parse_providers
from pickapic.settings.services import GENERATE_SERVICE, SCORE_SERVICE, ServiceScale, parse_scale

PREFIX = "PICKAPIC_"
CONFIG_FILE = "pickapic.toml"
SECRET_LENGTH = 32
# Fewer different characters than this, and it was typed by hand: "changemechangeme...".
SECRET_VARIETY = 12
HIDDEN = "(hidden)"


class Settings(BaseSettings):
    """Everything that a deployment may set; made by `load_settings`, and passed on, never global."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    home: Path = Field(
        Path("pickapic-data"), description="folder of the database, the images and generated secrets"
    )
    environment: Literal["development", "production"] = Field(
        "development", description="production refuses what is only fit for one's own machine"
    )
    database_url: str = Field("", description="SQLAlchemy URL; default: pickapic.db in home")
    images_url: str = Field("", description="folder, or s3://, gs://, az://...; default: images in home")
    secret_key: SecretStr | None = Field(
        None, description="signs cookies; default outside production: generated into home once"
    )
    allow_guests: bool = Field(True, description="sign-in without an account; default in production: false")
    host: str = Field("127.0.0.1", description="address that `pickapic serve` listens on")
    port: int = Field(
        8000, ge=0, le=65535, description="port that `pickapic serve` listens on; 0 takes a free one"
    )
    session_days: int = Field(30, ge=1, description="days without use after which a browser is signed out")
    session_rotate_hours: float = Field(
        24.0, gt=0, description="hours after which a browser gets a new session token for its old one"
    )
    public_url: str = Field(
        "", description="where people find this server, https://...; needed to sign in by a provider"
    )
    sign_in: Annotated[tuple[ProviderChoice, ...], NoDecode] = Field(
        (), description="ways to sign in: a table of name -> client_id, client_secret, issuer, kind, label"
    )
    admins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="verified e-mail addresses that become admins when they sign in"
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="addresses (or networks, or *) of proxies whose X-Forwarded-For and -Proto are believed",
    )
    terms_version: str = Field(
        "1",
        min_length=1,
        max_length=32,
        description="version of the terms; a new one is put to everybody again",
    )
    terms_file: Path | None = Field(None, description="the terms as Markdown; default: those that come along")
    on_delete: Literal["anonymise", "remove"] = Field(
        "anonymise", description="what becomes of the picks of a person who asks to be forgotten"
    )
    free_prompt: str = Field(
        "a watercolour fox asleep in a teacup",
        description="the one prompt that is free before signing in; empty: none",
    )
    free_picks: int = Field(5, ge=1, description="rounds that may be answered before signing in")
    mark_days: int = Field(
        30, ge=1, description="days for which hashes of address and device are kept, to find double accounts"
    )
    generators: Annotated[tuple[GeneratorChoice, ...], NoDecode] = Field(
        tuple(GeneratorChoice(name, name) for name in MINIATURE_GENERATORS),
        description="models that rounds draw from: names, or a table of name -> weight, guidance, ...",
    )
    scorer: str | None = Field(None, description="scorer behind POST /score; none: that call answers 503")
    scorer_model: str | None = Field(None, description="checkpoint for the scorer: a hub id or a folder")
    scorer_device: str | None = Field(None, description="cpu, cuda, ...; default: a GPU if there is one")
    scorer_precision: Literal["float32", "bfloat16", "float16", "int8"] | None = Field(
        None, description="numbers that the scorer computes in; default: what the processor is fast at"
    )
    scorer_batch: int = Field(64, ge=1, description="images that are scored in one call, of many requests")
    scorer_wait_ms: float = Field(
        5.0, ge=0, description="milliseconds that a request waits for others to be scored with it"
    )
    scorer_queue: int = Field(
        256, ge=1, description="images that may wait; beyond that POST /score answers 429"
    )
    scorer_max_images: int = Field(16, ge=1, description="images that one request may have")
    scorer_max_pixels: int = Field(
        25_000_000, ge=1, description="width times height that an image sent to POST /score may have"
    )
    score_service: Annotated[ServiceScale, NoDecode] = Field(
        SCORE_SERVICE,
        description="replicas of `pickapic score-service`: a table of replicas, gpus, batch, ... (docs/ray.md)",
    )
    generate_service: Annotated[ServiceScale, NoDecode] = Field(
        GENERATE_SERVICE,
        description="replicas of each model of `pickapic generate-service`, likewise (docs/ray.md)",
    )
    prompt_max_length: int = Field(500, ge=1, description="characters a prompt may have")
    prompts_per_minute: int = Field(60, ge=1, description="prompts that one user may start within a minute")
    guests_per_hour: int = Field(
        100, ge=1, description="new people who may come from one internet address as guests within an hour"
    )
    images_per_week: int = Field(
        5_000, ge=1, description="images that one user may have made within seven days"
    )
    jobs_per_user: int = Field(200, ge=1, description="images that one user may have waiting in the queue")
    picks_first: int = Field(
        1_000, ge=1, description="answers that a new user may give; more once their picks have proved good"
    )
    quality: dict[str, float] = Field(
        default_factory=dict[str, float],
        description="changes to the quality policy, by parameter (docs/quality.md)",
    )
    gold_share: float = Field(
        0.07, ge=0, le=0.5, description="share of rounds whose answer is known beforehand, to see who looks"
    )
    prompt_filter: bool = Field(True, description="refuse or review prompts that ask for unfit images")
    prompt_words: Path | None = Field(
        None, description="TOML file of words to block, review and allow beside those that come along"
    )
    image_classifier: str = Field(
        "", description="none, or opennsfw; default: opennsfw unless all generators are the miniature ones"
    )
    image_threshold: float = Field(
        0.5, gt=0, le=1, description="images that the classifier gives this much or more are never shown"
    )
    image_size: int | None = Field(
        None,
        ge=64,
        le=2048,
        description="pixels of both sides of every image; default: those of a duel's first",
    )
    sweep_hours: float = Field(
        0.0, ge=0, description="hours between clearing orphaned image files away beside the server; 0: never"
    )
    images_ahead: int = Field(4, ge=1, description="finished images that are kept ready for each duel")
    worker_batch: int = Field(8, ge=1, description="jobs that a worker leases at once")
    worker_generators: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names of the generators whose images a worker makes; default: all"
    )
    lease_seconds: float = Field(
        60.0, gt=0, description="after this long without a heartbeat a job is given to another"
    )
    max_attempts: int = Field(3, ge=1, description="tries before a job is given up and shown to an admin")
    breaker_failures: int = Field(
        3, ge=1, description="failures of a provider in a row after which its generator is benched"
    )
    breaker_seconds: float = Field(
        30.0, gt=0, description="how long a generator is benched at first; twice as long each further time"
    )
    breaker_max_seconds: float = Field(1_800.0, gt=0, description="longest time that a generator is benched")
    job_max_seconds: float = Field(
        900.0, gt=0, description="age at which an image is given up whose generator cannot be reached"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe line logged"
    )
    log_format: Literal["json", "console"] = Field(
        "console", description="form of the log's lines; default in production: json"
    )
    access_log: bool = Field(
        False, description="log each request: route, status, milliseconds; default in production: true"
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="bearer token for /metrics; none: only private addresses, past no proxy, may read it",
    )
    queue_alarm_seconds: float = Field(
        300.0, gt=0, description="age of the oldest image to make from which /readyz says degraded"
    )
    stop_delay_seconds: float = Field(
        0.0,
        ge=0,
        description="seconds after SIGTERM for which requests are still taken, while /readyz says 503",
    )
    stop_seconds: float = Field(
        20.0,
        gt=0,
        description="seconds that open requests, and images in the making, have to end after SIGTERM",
    )
    visitor_days: int = Field(
        30,
        ge=1,
        description="days after which a visitor who tried the free prompt and never came back is deleted",
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict[str, str])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over the environment over the file; no .env, no secrets folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())

    @property
    def sources(self) -> dict[str, str]:
        """Where each value comes from, by field name, in the order of the fields."""
        return {name: self._sources.get(name, "default") for name in type(self).model_fields}

    def shown(self) -> dict[str, Any]:
        """Return the values to print, by field name: secrets, and passwords inside URLs, are replaced."""
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        values["home"] = str(self.home)
        for name in ("secret_key", "metrics_token"):
            values[name] = HIDDEN if values[name] else None
        values["sign_in"] = [
            {entry: getattr(choice, entry) for entry in choice.__slots__} | {"client_secret": HIDDEN}
            for choice in self.sign_in
        ]
        for name in ("score_service", "generate_service"):
            values[name] = asdict(values[name])
        for name in ("terms_file", "prompt_words"):
            values[name] = str(values[name]) if values[name] else None
        for name in ("database_url", "images_url"):
            values[name] = re.sub(r"(?<=://)([^/@:]*):[^/@]*@", rf"\1:{HIDDEN}@", values[name])
        values["generators"] = [
            {entry: getattr(choice, entry) for entry in choice.__slots__}
            | {"parameters": {key: _hide(key, value) for key, value in choice.parameters.items()}}
            for choice in self.generators
        ]
        return values

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("generators", mode="before")
    @classmethod
    def _choices(cls, value: object) -> tuple[GeneratorChoice, ...]:
        return parse_generators(value)

    @field_validator("sign_in", mode="before")
    @classmethod
    def _providers(cls, value: object) -> tuple[ProviderChoice, ...]:
        return parse_providers(value)

    @field_validator("score_service", mode="before")
    @classmethod
    def _score_scale(cls, value: object) -> ServiceScale:
        return parse_scale(value, "score_service", SCORE_SERVICE)

    @field_validator("generate_service", mode="before")
    @classmethod
    def _generate_scale(cls, value: object) -> ServiceScale:
        return parse_scale(value, "generate_service", GENERATE_SERVICE)

    @field_validator("admins", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        names = re.split(r"[,\s]+", value) if isinstance(value, str) else value
        return (
            tuple(str(name).lower() for name in names if name) if isinstance(names, list | tuple) else names
        )

    @field_validator("worker_generators", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(name for name in re.split(r"[,\s]+", value) if name) if isinstance(value, str) else value

    @field_validator("public_url", mode="after")
    @classmethod
    def _origin(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
            raise ValueError("give scheme and host only, for example https://pick.example.org")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Fill the defaults that depend on another value."""
        home = Path(values.get("home") or cls.model_fields["home"].default).expanduser().absolute()
        filled = {
            "home": home,
            "database_url": f"sqlite:///{home / 'pickapic.db'}",
            "images_url": str(home / "images"),
            "allow_guests": values.get("environment") != "production",
            "log_format": "json" if values.get("environment") == "production" else "console",
            "access_log": values.get("environment") == "production",
        }
        return filled | {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _fit_for_production(self) -> Settings:
        if self.environment == "production":
            key = self.secret_key.get_secret_value() if self.secret_key else ""
            if len(key) < SECRET_LENGTH or len(set(key)) < SECRET_VARIETY:
                raise ValueError(
                    f"production needs a random secret_key of at least {SECRET_LENGTH} characters; make one with: "
                    'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
                )
            if self.public_url and not self.public_url.startswith("https://"):
                raise ValueError("production needs https:// in public_url: cookies would travel in the clear")
        if self.sign_in and not self.public_url:
            raise ValueError("sign_in needs public_url: providers send people back to that address")
        return self


def config_file() -> Path:
    """Return where the settings file is, or would be: `PICKAPIC_CONFIG`, or `pickapic.toml` here.

    Raises:
        InputError: `PICKAPIC_CONFIG` names no file.
    """
    named = os.environ.get("PICKAPIC_CONFIG")
    if named and not Path(named).is_file():
        raise InputError(f"PICKAPIC_CONFIG names {named}, which is no file")
    return Path(named or CONFIG_FILE).absolute()


def _hide(key: str, value: object) -> object:
    return HIDDEN if re.search(r"key|token|secret|password|auth", key, re.IGNORECASE) else value
