"""``python -m tests.bench.scale``: the tables of docs/reference/scale.md, from what was measured."""

from __future__ import annotations

import click

from streams.errors import BadInput
from tests.bench.scale.costs import LOAD, ROOT, read_costs
from tests.bench.scale.tables import put_into, tables

SCALE = ROOT / "docs" / "reference" / "scale.md"


@click.command(epilog="Example: python -m tests.bench.scale --write")
@click.option("--write", is_flag=True, help="Put the tables into docs/reference/scale.md.")
def scale(write: bool) -> None:
    """Work out what one thousand, one million and a hundred million events an hour need."""
    try:
        made = tables(read_costs(), (ROOT / LOAD).read_text())
        if write:
            SCALE.write_text(put_into(SCALE.read_text(), made))
    except (BadInput, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from None
    for name, table in made.items():
        click.echo(f"{name}\n\n{table}\n")


if __name__ == "__main__":
    scale()
