"""Writes the parts of the documentation that are made from data.

    python -m tools.make_docs            rewrites them
    python -m tools.make_docs --check    fails if they are out of date

A generated part stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` in its page.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from serve.api.wire.contract_tables import controls_table, field_table
from serve.grammar.keywords import keyword_table
from tools.clients import features_list, snippets
from tools.families import families_table, variants_table
from tools.limits import fields_table, fixed_table, settings_table


@dataclass(frozen=True, slots=True)
class Part:
    """A generated part of a page.

    Attributes:
        page: path below the project's root.
        name: in the page's marks.
        make: gives its content.
    """

    page: str
    name: str
    make: Callable[[], str]


PARTS = (
    Part("docs/api.md", "fields", field_table),
    Part("docs/sampling.md", "controls", controls_table),
    Part("docs/models.md", "families", families_table),
    Part("docs/models.md", "variants", variants_table),
    Part("docs/structured-output.md", "keywords", keyword_table),
    Part("docs/limits.md", "settings", settings_table),
    Part("docs/limits.md", "fixed", fixed_table),
    Part("docs/limits.md", "fields", fields_table),
    Part("docs/clients.md", "features", features_list),
    Part("docs/clients.md", "snippets", snippets),
)


def with_part(page: str, name: str, content: str) -> str:
    """`page` with its generated part `name` replaced.

    Raises:
        ValueError: the page has no such part.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"there is no part {name!r}: put the lines {begin} and {end} into it")
    return pattern.sub(lambda _: f"{begin}\n\n{content}\n{end}", page)


def bring_up_to_date(root: Path, *, write: bool) -> list[str]:
    """The pages below `root` that are out of date; they are rewritten if `write`.

    Raises:
        ValueError: a page is missing, or has no place for its part.
    """
    changed: list[str] = []
    for part in PARTS:
        path = root / part.page
        try:
            old = path.read_text(encoding="utf-8")
            new = with_part(old, part.name, part.make())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be brought up to date: {error}") from error
        if old != new:
            changed.append(part.page)
            if write:
                path.write_text(new, encoding="utf-8")
    return changed


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if something is out of date.")
def main(check: bool) -> None:
    """Bring the generated parts of the documentation up to date."""
    try:
        changed = bring_up_to_date(Path(__file__).parent.parent, write=not check)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if check and changed:
        raise click.ClickException(
            f"{', '.join(changed)}: out of date; run python -m tools.make_docs"
        )
    click.echo(f"rewritten: {', '.join(changed)}" if changed else "all up to date")


if __name__ == "__main__":
    main()
