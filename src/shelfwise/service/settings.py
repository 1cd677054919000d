"""Settings of the service: from options, else the environment, else a TOML file, else these defaults."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shelfwise.config import Config, read_toml

PREFIX = "SHELFWISE_SERVE_"


def _split(value: Any) -> Any:
    """Names in one text, as the environment has them."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class ServiceSettings(Config):
    """data_folder    where the SQLite database is kept
    database         SQLAlchemy's URL of another one: postgresql://user:password@host/name
    host, port       where to listen
    names            host names by which a proxy lets others reach this service, which then counts as open to them
    allow_open       listen beyond this machine without any key
    max_body         bytes of a request
    max_upload       bytes of a file to import; max_rows  rows in it
    max_ratings      ratings of one request
    max_list         books of one list
    rate, burst      requests per second and at once, by key or address; 0 for no limit
    body_seconds     within which a request must have arrived
    drain_seconds    given to requests in flight when the service is told to stop
    at_once          requests that are answered together
    feedback_days    for which lists that were answered are kept, with what readers did with them; 0: not at all
    log_ids          whether logs hold the paths of requests, which name readers and books
    remember         whether pages offer to keep a reader's shelf here
    forget_days      without a visit after which such a shelf is deleted; 0: never
    covers           whether pages show pictures of covers, which browsers then fetch from covers.openlibrary.org
    """

    data_folder: Path = Path("shelfwise-data")
    database: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    names: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    allow_open: bool = False
    max_body: Annotated[int, Field(ge=1024)] = 2_000_000
    max_upload: Annotated[int, Field(ge=1024)] = 20_000_000
    max_rows: Annotated[int, Field(ge=1)] = 50_000
    max_ratings: Annotated[int, Field(ge=1)] = 10_000
    max_list: Annotated[int, Field(ge=1)] = 200
    rate: Annotated[float, Field(ge=0)] = 20.0
    burst: Annotated[int, Field(ge=1)] = 60
    body_seconds: Annotated[float, Field(gt=0)] = 20.0
    drain_seconds: Annotated[int, Field(ge=0)] = 20
    at_once: Annotated[int, Field(ge=1)] = 64
    feedback_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 90.0
    log_ids: bool = False
    remember: bool = True
    forget_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 365.0
    covers: bool = False

    @property
    def database_url(self) -> str:
        """The URL of the database in use."""
        return self.database or f"sqlite:///{(self.data_folder / 'shelfwise.db').resolve()}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.names:
            return False
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_settings(config: Path | None = None, **options: Any) -> ServiceSettings:
    """Settings from all sources; an option that is None counts as not given. Raises ConfigError, MissingDataError."""
    known = ServiceSettings.model_fields
    environment = {name: os.environ[PREFIX + name.upper()] for name in known if PREFIX + name.upper() in os.environ}
    given = {name: value for name, value in options.items() if value is not None}
    return ServiceSettings.parse((read_toml(config) if config else {}) | environment | given, where="service")
