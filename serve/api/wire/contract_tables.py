"""The contract as the tables that the documentation shows."""

from serve.api.wire.contract import CONTRACT


def field_table() -> str:
    """The contract as a Markdown table."""
    lines = ["| field | state | accepted | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{row.field}` | {row.state} | {row.accepted} | {row.summary} |" for row in CONTRACT
    ]
    return "\n".join(lines) + "\n"


def controls_table() -> str:
    """The sampling controls in the order in which they are applied, as a Markdown table."""
    controls = sorted((row for row in CONTRACT if row.step), key=lambda row: row.step)
    lines = ["| order | control | range | neutral | what it does |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.step} | `{row.field}` | {row.allowed} | {row.default} | {row.summary} |"
        for row in controls
    ]
    return "\n".join(lines) + "\n"
