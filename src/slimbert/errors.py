"""The three ways a command ends badly, each with its exit code and a message that a newcomer can act on."""


class SlimbertError(Exception):
    """Base of all errors that are shown as one line, without a traceback."""

    exit_code = 1


class InputError(SlimbertError, ValueError):
    """Bad usage or data: `place: problem; remedy`. Exit code 2.

    place: file:line, key path or option; problem: what is wrong, with the value; remedy: what to do (empty when
    the problem already says it).
    """

    exit_code = 2

    def __init__(self, place: object, problem: str, remedy: str = ""):
        super().__init__(f"{place}: {problem}; {remedy}" if remedy else f"{place}: {problem}")
        self.place, self.problem, self.remedy = str(place), problem, remedy


class RunError(SlimbertError):
    """A run that could not go on (loss not finite, ...); the last good checkpoint stands. Exit code 1."""


class Interrupted(SlimbertError):
    """SIGINT or SIGTERM arrived and a checkpoint was written. Exit code 130."""

    exit_code = 130
