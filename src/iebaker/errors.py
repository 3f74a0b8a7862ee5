"""The one error that is meant for people, and what the system's own errors mean to them."""

import errno

REMEDIES = {
    errno.ENOSPC: "make room on this disk, then run the same command again: what was finished is kept",
    errno.EDQUOT: "your share of this disk is used up: make room, then run the same command again",
    errno.EROFS: "this disk is mounted read-only: remount it, or move the project",
    errno.EACCES: "you may not: change its owner or rights (chown, chmod u+rwX)",
    errno.EPERM: "you may not: change its owner or rights (chown, chmod u+rwX)",
    errno.ENAMETOOLONG: "choose a shorter name or folder",
    errno.EMFILE: "too many files are open at once: raise the limit (ulimit -n)",
}
OUT_OF_MEMORY = (
    "out of memory; close other programs, or lower train.batch_size, benchmark.<name>.image_size or sar.bank_size"
)
LONGEST = 2000  # characters of a message


class IebakerError(ValueError):
    """What was given cannot be used: the message says what, where (file, row, key, value), and what to do.

    Commands and stages print the message alone; any other exception is a bug and keeps its traceback.
    """


def explained(error: BaseException, place: object = None) -> str | None:
    """What an exception means to a person, in one line; None for a bug, whose traceback is wanted.

    Args:
        place: what was about to be written, where the error itself names nothing.
    """
    if isinstance(error, IebakerError):
        text = str(error)  # which may quote a name of any length
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    if isinstance(error, OSError):
        where = error.filename if error.filename is not None else place
        remedy = REMEDIES.get(error.errno or 0)
        if where is None or error.strerror is None:
            return f"{error}; {remedy}" if remedy else str(error)
        return f"{where}: {error.strerror}" + (f"; {remedy}" if remedy else "")
    text = str(error).lower()  # torch has no class of its own for the processor's memory
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in text and "memory" in text):
        return OUT_OF_MEMORY
    return None
