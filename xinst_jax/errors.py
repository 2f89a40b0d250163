"""What ends a command early: a mistake, or a machine or a process that is gone."""

import errno
from typing import NamedTuple

FAILED, MISTAKEN, PREEMPTED, INTERRUPTED = 1, 2, 75, 130
"""Exit statuses: a defect; a user's mistake; a machine or a process that was taken
away, or a file system that failed for a moment (EX_TEMPFAIL of sysexits.h: start
again); an interrupt from the keyboard."""

_PASSING = {
    *(errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.ECONNABORTED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH),
}
"""What a network file system or a mounted bucket says where it may work again soon."""


class Ending(NamedTuple):
    """How a process ends.

    Attributes:
      status: the exit status.
      message: what is said on standard error; empty where all went well.
    """

    status: int
    message: str


class UserError(Exception):
    """A mistake in what was given: a file, a row, a field, a configuration.

    The message names the place, what was found, what was expected and what to do; the
    command line prints it alone, without a stack trace, and exits with status 2.
    """


class Lost(Exception):
    """Another process of the run is gone, or did not come; what is done is saved."""


class Preempted(Exception):
    """The machine is being taken away; everything so far is saved."""


def may_pass(error: BaseException) -> bool:
    """Whether an error comes of input or output that may work at the next start.

    It does not where a file is missing, may not be read or finds no room: that stays so
    until somebody mends it.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _PASSING:
            return True
        found = found.__cause__
    return False
