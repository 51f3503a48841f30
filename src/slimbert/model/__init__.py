"""Encoders, heads and models: built from configs, saved as folders, transformed into other models."""

from . import presets as presets  # registers the sugar of recipes: preset, pattern
from .encoder import Encoder, EncoderConfig
from .folder import load_model, save_model
from .model import Model, ModelConfig, SpecialTokens, fresh, skeleton, with_dropout
from .narrowing import Place, exact_place, narrow
from .transform import extract, headless

__all__ = [
    "Encoder",
    "EncoderConfig",
    "Model",
    "ModelConfig",
    "Place",
    "SpecialTokens",
    "exact_place",
    "extract",
    "fresh",
    "headless",
    "load_model",
    "narrow",
    "presets",
    "save_model",
    "skeleton",
    "with_dropout",
]
