"""What of evaluation sets a run's stages found and left out, as a table."""

import pathlib
from collections.abc import Mapping, Sequence

from xinst_jax.pipeline import contamination
from xinst_jax.report.rater import Table


def table(
    workdir: pathlib.Path, stages: Sequence[str], names: Mapping[str, str]
) -> Table | None:
    """A line for each set and stage with a hit; None where no set was looked for.

    Args:
      workdir: the run's directory.
      stages: the run's stages.
      names: the languages' names by code.
    """
    directories = [workdir / stage for stage in stages]
    sets = contamination.sets(directories)
    if not sets:
        return None
    found = contamination.hits(directories, names)
    return Table(
        f"Compared with {'; '.join(sets)}: rows that were dropped for a piece of one, "
        "in web text, seed pairs (instruction or response) and written instructions, "
        "and the n-grams that showed it most often."
        + ("" if found else " There was none."),
        [],
        ["Set", "stage", "rows", *names, "n-grams"],
        [
            [
                one.name,
                one.stage,
                f"{sum(one.rows.values()):,}",
                *(f"{one.rows[code]:,}" if code in one.rows else "" for code in names),
                ", ".join(f"“{gram}” {count:,}" for gram, count in one.n_grams),
            ]
            for one in found
        ],
    )
