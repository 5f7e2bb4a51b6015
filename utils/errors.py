"""Exceptions for mistakes of the user and for failures of the machine, which the CLI prints."""


class InputError(ValueError):
    """Bad input: the message is one sentence that says what was found and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class OutputError(InputError):
    """Failure to write (a full disk, no permission), which holds for other files as well."""
