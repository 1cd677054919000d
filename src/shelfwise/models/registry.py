"""The models by name and recipe. A model's module is imported when it is asked for: torch takes its time."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from shelfwise.config import ModelConfig
from shelfwise.errors import UsageError
from shelfwise.models.contract import Model

Recipe = Literal["default", "notebook"]

# (name, recipe) -> module below shelfwise.models, model class, config class
MODELS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("global-mean", "default"): ("averages", "GlobalMean", "GlobalMeanConfig"),
    ("popularity", "default"): ("averages", "Popularity", "PopularityConfig"),
    ("bias", "default"): ("bias", "Bias", "BiasConfig"),
    ("item-knn", "default"): ("item_knn", "ItemKNN", "ItemKNNConfig"),
    ("coreading-knn", "default"): ("coreading", "CoreadingKNN", "CoreadingKNNConfig"),
    ("ease", "default"): ("coreading", "EASE", "EASEConfig"),
    ("bias-ordinal", "default"): ("ordinal_bias", "OrdinalBias", "OrdinalBiasConfig"),
    ("shelf", "default"): ("shelf", "Shelf", "ShelfConfig"),
    ("mf", "default"): ("mf", "MF", "MFConfig"),
    ("ncf", "default"): ("ncf", "NCF", "NCFConfig"),
    ("hybrid", "default"): ("hybrid", "Hybrid", "HybridConfig"),
    ("mf", "notebook"): ("notebook", "NotebookModel", "NotebookConfig"),
    ("ncf", "notebook"): ("notebook", "NotebookModel", "NotebookConfig"),
    ("hybrid", "notebook"): ("notebook", "NotebookModel", "NotebookConfig"),
}
DEFAULT_MODEL = "shelf"


def model_class(config: ModelConfig) -> type[Model]:
    """The class of the model that a config is for."""
    module, name, _ = _entry(config.kind, config.recipe)
    found: type[Model] = getattr(module, name)
    return found


def model_config(kind: str, recipe: str = "default", settings: dict[str, Any] | None = None) -> ModelConfig:
    """The settings of a model, checked. Raises UsageError for an unknown name, ConfigError for bad settings."""
    module, _, name = _entry(kind, recipe)
    config: type[ModelConfig] = getattr(module, name)
    fixed = {"kind": kind, "recipe": recipe}
    return config.parse({**(settings or {}), **fixed}, where=f"model {kind}")


def _entry(kind: str, recipe: str) -> tuple[Any, str, str]:
    if (kind, recipe) not in MODELS:
        kinds = dict.fromkeys(name for name, _ in MODELS)
        if kind not in kinds:
            raise UsageError(f"no model {kind!r}", hint=f"choose one of {', '.join(kinds)}")
        recipes = [r for name, r in MODELS if name == kind]
        raise UsageError(f"no recipe {recipe!r} for the model {kind}", hint=f"choose one of {', '.join(recipes)}")
    module, model, config = MODELS[kind, recipe]
    return importlib.import_module(f"shelfwise.models.{module}"), model, config
