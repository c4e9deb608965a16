"""The distribution that all of this comes as, by its name in an index of packages.

An index has others' packages too, and one of them is called Parlance: so the name is ours alone,
and whoever installs by name gets this.
"""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "parlance-jax"


def installed_version() -> str:
    """The version that is installed; empty for a source tree that is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return ""
