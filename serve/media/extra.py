"""Whether the packages of the extra `media` are there. Imports none of them."""

from importlib.util import find_spec

_PACKAGES = ("PIL", "charset_normalizer", "docx", "inscriptis", "lxml", "pypdfium2")


def missing() -> str:
    """What of the extra is not installed, as a reason; "" if all of it is."""
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    if not absent:
        return ""
    return "it wants the extra media: in the checkout run pip install '.[media]'"
