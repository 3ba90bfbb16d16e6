"""The tree of errors.

::

    PulseError
    ├── UsageError            the person who started us is wrong: exit 2, one line
    │   ├── RecordingError    a recording can not be read
    │   └── RegistryError     a contracts file can not be read
    ├── NodeFault             the node is wrong: drop what it said, maybe the node too
    │   ├── Refusal           the node answered that it will not: an error object instead of a result
    │   ├── Silence           the node did not answer in time
    │   └── Oversize          the node sent a frame that is longer than any may be
    ├── RecordFault           a record can not be applied: dead letter
    ├── StoreFault            Redis is away or holds something else than we left there
    │   └── StoreRefusal      Redis is there and will not: it is full, its disk is, or it does not let us
    ├── BrokerFault           Kafka is away, or will not have what we give it
    └── Superseded            another follower publishes now: stop

Anything else that escapes is our own bug and ends the process loudly.
"""


class PulseError(Exception):
    """Root of every error that this project raises on purpose."""


class UsageError(PulseError):
    """A flag, setting, file or URL can not be used; names what, where and what is allowed."""


class RecordingError(UsageError):
    """A recording is missing, truncated or not a recording."""


class RegistryError(UsageError):
    """A contracts file is not valid; names the file, the line and the reason."""


class NodeFault(PulseError):
    """A node answered something that can not be true, or nothing at all.

    Attributes:
        retryable: whether another try may end better.
        busy: the node says nothing, or wants to be asked less: it may answer later.
    """

    busy = False

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class Refusal(NodeFault):
    """A node answered a question with an error, or ended a subscription.

    Attributes:
        passing: it may answer the next time, since it is `busy` or for another reason.
    """

    def __init__(self, message: str, *, busy: bool = False, passing: bool = False) -> None:
        super().__init__(message)
        self.busy = busy
        self.passing = passing


class Silence(NodeFault):
    """A node did not answer in time."""

    busy = True


class Oversize(NodeFault):
    """A frame, or the answer to a question, is longer than it may be; another node's would be as well."""


class RecordFault(PulseError):
    """A record can not be applied, however often it is tried."""


class StoreFault(PulseError):
    """Redis can not be reached or does not hold what was left there; retried."""


class StoreRefusal(StoreFault):
    """Redis answers, and refuses what it is asked to do; retried, since somebody may mend it."""


class BrokerFault(PulseError):
    """Kafka can not be reached, or refuses a record however often it is sent."""


class Superseded(PulseError):
    """Another follower took over; what this one still says is older than what that one says."""
