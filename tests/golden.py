"""The reference activations, if they are beside the repository."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from modules.discriminator import Discriminator, DiscriminatorConfig
from modules.mcnet import MCNet, ModelConfig
from modules.published_weights import (
    DETECTOR_RULES,
    DISCRIMINATOR_RULES,
    GENERATOR_RULES,
    translate,
)

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"

needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the reference activations (../shared/golden) are not here"
)


@cache
def weights() -> ModuleType:
    """Import the rule that fills a published layout."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def published() -> dict[str, dict[str, torch.Tensor]]:
    """Fill a checkpoint of the published layout from seed 0."""
    return weights().checkpoint(json.loads((GOLDEN / "layout.json").read_text()), seed=0)


def published_model() -> MCNet:
    """Build the published model with the reference weights."""
    model = MCNet(ModelConfig())
    state = translate(published()["generator"], GENERATOR_RULES)
    state |= translate(published()["kp_detector"], DETECTOR_RULES)
    own = model.state_dict()
    model.load_state_dict({name: state[name].reshape(own[name].shape) for name in own})
    return model


def published_discriminator() -> Discriminator:
    discriminator = Discriminator(DiscriminatorConfig(), num_kp=15)
    discriminator.load_state_dict(translate(published()["discriminator"], DISCRIMINATOR_RULES))
    return discriminator
