"""`python -m jitgraph.theano.coverage`: the table of Theano's names, for `docs/theano.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from jitgraph.theano import finder, names

#: The table stands between these lines of the page.
BEGIN, END = "<!-- begin: names -->", "<!-- end: names -->"


def rows() -> Iterator[tuple[str, str]]:
    """Each module of Theano's, and its names that are there."""
    for module in finder.modules():
        alias = names.ALIASES.get(module)
        if alias is not None:
            yield module, f"as `{alias}`"
            continue
        inner = {m.rpartition(".")[2] for m in finder.modules() if m.rpartition(".")[0] == module}
        listed = [n for n in finder.public_names(module) if n not in inner]
        yield module, " ".join(f"`{n}`" for n in listed) or "its modules"


def table() -> str:
    """The part of the page that follows from the tables."""
    count = sum(len(found) for found in names.TABLE.values())
    lines = [BEGIN, "", f"### {count} names in {len(finder.modules())} modules", "",
             "| module | names |", "|---|---|"]  # fmt: skip
    lines += [f"| `{module}` | {listed} |" for module, listed in rows()]
    lines += ["", "### Refused", "", "| name | why |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in sorted(names.REFUSED.items())]
    return "\n".join([*lines, "", END])


def with_table(page: str) -> str:
    """A page whose table is the present one."""
    before, _, rest = page.partition(BEGIN)
    return before + table() + rest.partition(END)[2]


if __name__ == "__main__":
    from pathlib import Path

    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        path.write_text(with_table(path.read_text()))
    else:
        sys.stdout.write(table() + "\n")
