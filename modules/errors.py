"""The one exception that a user's mistake may raise."""


class InputError(ValueError):
    """Bad input: its message is one sentence that says what was found and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
