"""Words of messages that depend on numbers."""

from datetime import timedelta

LONGEST = 365 * 24 * 3600  # seconds that somebody may wait for


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 frame", "1,200 frames"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def time_left(seconds: float) -> str:
    """Return ", 1:15:00 left"; "" for years, which a run has that is to be stopped by hand."""
    return f", {timedelta(seconds=round(seconds))} left" if seconds < LONGEST else ""
