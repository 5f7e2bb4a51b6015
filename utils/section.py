"""The base of every section of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Settings that stand beside what they configure: typed strictly, frozen, nothing unknown."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
