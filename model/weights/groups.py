"""Parameters in groups that fit into memory together."""

from collections.abc import Mapping


def groups_by_size(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in their order, in groups of up to `limit` bytes, or of one larger parameter."""
    groups: list[list[str]] = []
    filled = limit
    for name, size in sizes.items():
        if not groups or filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups
