"""Words of messages that depend on numbers."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 frame", "1,200 frames"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
