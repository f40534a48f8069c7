"""The published recipes that a track is compared with, and why it differs from them."""

from __future__ import annotations

from pydantic import Field

from icd.experiments.base import Model, Name
from icd.experiments.yaml_files import WORKFLOW, load_yaml

FILE = WORKFLOW / "published_recipes.yaml"
Texts = dict[str, str]  # by the name of a setting, see icd/training/settings.py


class Elsewhere(Model):
    """A difference to the published code that no config states."""

    setting: str
    published: str
    here: str
    reason: str


class PublishedRecipe(Model):
    """A published recipe, and the reasons why the track coco differs from it."""

    source: str = Field(description="where it was published")
    settings: Texts = Field(default_factory=dict, description="values by setting")
    reasons: Texts = Field(default_factory=dict, description="reasons by setting that differs")
    elsewhere: list[Elsewhere] = Field(
        default_factory=list, description="differences that no config states"
    )


class PublishedBackbone(Model):
    """How a backbone was used."""

    settings: Texts = Field(default_factory=dict, description="values by setting")
    reason: str = Field("", description="why the track coco differs from it")


class PublishedRecipes(Model):
    """What all recipes share, and what is special to detectors and backbones."""

    shared: PublishedRecipe
    detectors: dict[Name, PublishedRecipe]
    backbones: dict[Name, PublishedBackbone]

    def settings(self, detector: str, backbone: str) -> Texts:
        """The published values for a detector with a backbone; without those not published."""
        own, network = self.detectors.get(detector), self.backbones.get(backbone)
        return {
            **self.shared.settings,
            **(own.settings if own else {}),
            **(network.settings if network else {}),
        }

    def reasons(self, detector: str) -> Texts:
        """Why the track coco differs, by setting, for a detector."""
        own = self.detectors.get(detector)
        return self.shared.reasons | (own.reasons if own else {})


def published_recipes() -> PublishedRecipes:
    """The recipes of ICD's authors."""
    return load_yaml(FILE, PublishedRecipes, "published recipes")
