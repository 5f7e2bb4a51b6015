"""The exceptions that a user's mistake, or the user's machine, may raise."""


class InputError(ValueError):
    """Bad input: its message is one sentence that says what was found and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class OutputError(InputError):
    """Something cannot be written (a full disk, no permission): other files would fail alike."""
