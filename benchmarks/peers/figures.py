"""Tables of figures beside what they are held to."""

from rich.table import Table


def table(title, *columns):
    """An empty table; its first column is text, the others are figures."""
    empty = Table(title=title, title_justify="left", caption_justify="left")
    for column in columns:
        empty.add_column(column, justify="left" if column is columns[0] else "right")
    return empty


def verdict(reached, smoke):
    """In words; a smoke run is no trial."""
    return "" if smoke else "reached" if reached else "missed"
