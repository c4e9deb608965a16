"""What tells the application of a connection: messages and marks beside those of ASGI.

A request that is malformed reaches the application all the same, so that there is one writer of
errors, of log lines and of metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A request whose body went wrong gets a message of this type, with the fault as `fault`.
FAULT = "parlance.fault"
# A client that will send nothing more but still reads makes a message of this type.
HALF_CLOSED = "parlance.half_closed"

# A request that has no usable head carries its fault in `scope["state"]`.
_STATE = "parlance.fault"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request cannot be taken as HTTP.

    Attributes:
        status: what to answer.
        code: a short name that programs can test.
        message: what is wrong.
    """

    status: int
    code: str
    message: str


def marked(state: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
    """A scope's `state` that carries `fault`."""
    return {**state, _STATE: fault}


def fault_of(scope: Mapping[str, Any]) -> Fault | None:
    """The fault of a request's head, if it has one."""
    return (scope.get("state") or {}).get(_STATE)


def malformed(message: str) -> Fault:
    """400."""
    return Fault(400, "malformed_request", message)
