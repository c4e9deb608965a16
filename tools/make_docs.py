"""Writes the parts of the documentation that are made from data.

    python -m tools.make_docs            rewrites them
    python -m tools.make_docs --check    fails if they are out of date

A generated part stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in its page.
"""

import re
from pathlib import Path

import click

from serve.api.contract import field_table

_API_PAGE = Path(__file__).parent.parent / "docs" / "api.md"


def with_part(page: str, name: str, content: str) -> str:
    """`page` with its generated part `name` replaced.

    Raises:
        ValueError: the page has no such part.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no part {name!r}; put {begin!r} and {end!r} into it")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", page)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if something is out of date.")
def main(check: bool) -> None:
    """Bring the generated parts of docs/ up to date."""
    old = _API_PAGE.read_text()
    new = with_part(old, "fields", field_table())
    if old == new:
        click.echo(f"{_API_PAGE} is up to date")
    elif check:
        raise click.ClickException(f"{_API_PAGE} is out of date: run python -m tools.make_docs")
    else:
        _API_PAGE.write_text(new)
        click.echo(f"{_API_PAGE} rewritten")


if __name__ == "__main__":
    main()
