"""What ends a command early: a mistake, or a machine or a process that is gone."""

from typing import NamedTuple

FAILED, MISTAKEN, PREEMPTED, INTERRUPTED = 1, 2, 75, 130
"""Exit statuses: a defect; a user's mistake; a machine or a process that was taken away
(EX_TEMPFAIL of sysexits.h: start again); an interrupt from the keyboard."""


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
