"""What a run was asked to do: one frozen object, from options or TOML, kept as JSON in the run."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from shelfwise.errors import ConfigError, MissingDataError


class Config(BaseModel):
    """Base of all settings: immutable, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, settings: dict[str, Any], where: str = "settings") -> Self:
        """As the constructor, but raises ConfigError that names `where`, the setting and its value."""
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or cls.__name__
            known = ", ".join(cls.model_fields)
            hint = f"known settings: {known}" if first["type"] == "extra_forbidden" else "correct the value"
            raise ConfigError(f"{where}: {name} = {first['input']!r}: {first['msg']}", hint=hint) from error


class ModelConfig(Config):
    """Settings of a model. `grid` holds the values tried on validation for settings left open; `chosen_by` judges.
    `loop`: where its training differs from what LoopSettings says."""

    chosen_by: ClassVar[str] = "mse"
    grid: ClassVar[dict[str, tuple[float, ...]]] = {}
    loop: ClassVar[dict[str, Any]] = {}
    kind: str
    recipe: str = "default"

    def candidates(self) -> list[Self]:
        """One config for each combination of the grid's values; settings given by the user stay fixed."""
        open_fields = {name: values for name, values in self.grid.items() if name not in self.model_fields_set}
        combinations = itertools.product(*open_fields.values())
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return [type(self)(**given, **dict(zip(open_fields, values, strict=True))) for values in combinations]


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file. Raises MissingDataError, ConfigError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(f"no such file: {path}", hint="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="correct the line it names") from error
