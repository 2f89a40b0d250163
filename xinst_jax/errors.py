"""What ends a command early: a user's mistake, or the machine being taken away."""


class UserError(Exception):
    """A mistake in what was given: a file, a row, a field, a configuration.

    The message names the place, what was found, what was expected and what to do; the
    command line prints it alone, without a stack trace, and exits with status 2.
    """


class Preempted(Exception):
    """The machine is being taken away; everything so far is saved."""
