"""Base class of sections of a configuration, and of JSON files with fixed keys."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from utils.errors import InputError
from utils.files import write_atomically


class Section(BaseModel):
    """Settings that stand beside what they configure: strictly typed, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @classmethod
    def read_json(cls, path: Path, problem: str) -> Self | None:
        """Read the values from a JSON file; None where there is no file.

        Raises InputError for a damaged file; ``problem`` completes the sentence "PATH ...".
        """
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # pydantic's ValidationError is a ValueError
            raise InputError(f"{path} {problem}") from error

    def write_json(self, path: Path) -> None:
        """Write the values to a JSON file, atomically.  Raises OutputError where that fails."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")
