"""The one error that is meant for people."""


class IebakerError(ValueError):
    """What was given cannot be used: the message says what, where (file, row, key, value), and what to do.

    Commands and stages print the message alone; any other exception is a bug and keeps its traceback.
    """
