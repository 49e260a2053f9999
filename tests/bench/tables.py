"""Tables, for people and for documents."""


def markdown(title: str, head: list[str], rows: list[list[str]], note: str = "") -> str:
    """A table with its title and a note."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {title}\n\n{table}\n" + (f"\n{note}\n" if note else "")


def plain(title: str, head: list[str], rows: list[list[str]], note: str = "") -> str:
    """The same for a terminal: columns in line."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [head, *rows]]
    return "\n".join([f"\n{title}", *lines, *([note] if note else [])])
