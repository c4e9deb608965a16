"""Whose the `PARLANCE_…` variables of the environment are: ours, Kubernetes', or nobody's.

Knows the settings' names, not what they mean.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from serve.setting_names import environment_name, settings

CONFIG_VARIABLE = "PARLANCE_CONFIG"
URL_VARIABLE = "PARLANCE_URL"

_PREFIX = "PARLANCE_"
_HOST = "_SERVICE_HOST"

# What follows a Service's name in a variable, and what such a variable has for its value
# (kubelet, pkg/kubelet/envvars).
_ADDRESS = r"(?:tcp|udp|sctp)://\S+:\d+"
_LINKS = {
    re.compile(name): re.compile(value)
    for name, value in {
        r"_SERVICE_HOST": r"[0-9a-f.:]+",
        r"_SERVICE_PORT(?:_[A-Z0-9_]+)?": r"\d+",
        r"_PORT": _ADDRESS,
        r"_PORT_\d+_(?:TCP|UDP|SCTP)": _ADDRESS,
        r"_PORT_\d+_(?:TCP|UDP|SCTP)_PROTO": r"tcp|udp|sctp",
        r"_PORT_\d+_(?:TCP|UDP|SCTP)_PORT": r"\d+",
        r"_PORT_\d+_(?:TCP|UDP|SCTP)_ADDR": r"[0-9a-f.:]+",
    }.items()
}


def service_links(environment: Mapping[str, str]) -> frozenset[str]:
    """Names of the variables by which Kubernetes tells of Services whose names begin as ours.

    A Service named `parlance` makes the kubelet set `PARLANCE_SERVICE_HOST`, and beside it
    `PARLANCE_PORT`, which is a setting's name, to an address such as `tcp://10.0.0.1:8000`.
    """
    services = [
        name.removesuffix(_HOST)
        for name in environment
        if name.startswith(_PREFIX) and name.endswith(_HOST)
    ]
    return frozenset(
        name
        for service in services
        for name, value in environment.items()
        if name.startswith(service) and _is_link(name.removeprefix(service), value)
    )


def _is_link(name: str, value: str) -> bool:
    return any(
        named.fullmatch(name) and valued.fullmatch(value) for named, valued in _LINKS.items()
    )


def strangers(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each `PARLANCE_…` variable that nobody reads, in alphabetical order."""
    known = {environment_name(name) for name in settings()} | {CONFIG_VARIABLE, URL_VARIABLE}
    links = service_links(environment)
    return [
        f"{name} is no setting; {_advice(name, known)}"
        for name in sorted(environment)
        if name.startswith(_PREFIX) and name not in known | links
    ]


def _advice(name: str, known: set[str]) -> str:
    # The beginning that all share would make any two of them alike.
    endings = [entry.removeprefix(_PREFIX) for entry in known]
    nearest = get_close_matches(name.removeprefix(_PREFIX).upper(), endings, n=1)
    if nearest:
        return f"did you mean {_PREFIX}{nearest[0]}?"
    return "`parlance serve --help` lists the variables that are"
