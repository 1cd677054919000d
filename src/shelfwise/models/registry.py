"""The models by name."""

from __future__ import annotations

from typing import Any

from shelfwise.config import ModelConfig
from shelfwise.errors import UsageError
from shelfwise.models.averages import GlobalMean, GlobalMeanConfig, Popularity, PopularityConfig
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.models.contract import Model

MODELS: dict[str, tuple[type[Model], type[ModelConfig]]] = {
    "global-mean": (GlobalMean, GlobalMeanConfig),
    "popularity": (Popularity, PopularityConfig),
    "bias": (Bias, BiasConfig),
}
DEFAULT_MODEL = "bias"


def model_class(kind: str) -> type[Model]:
    """The class of a model. Raises UsageError for an unknown name."""
    return _entry(kind)[0]


def model_config(kind: str, settings: dict[str, Any] | None = None) -> ModelConfig:
    """The settings of a model, checked. Raises UsageError for an unknown name, ConfigError for bad settings."""
    return _entry(kind)[1].parse(settings or {}, where=f"model {kind}")


def _entry(kind: str) -> tuple[type[Model], type[ModelConfig]]:
    if kind not in MODELS:
        raise UsageError(f"no model {kind!r}", hint=f"choose one of {', '.join(MODELS)}")
    return MODELS[kind]
