"""The one base of errors that are the user's to mend: shown as a line, without a traceback."""


class UserError(ValueError):
    """Bad input; the message says what is wrong, where, and what to do."""
