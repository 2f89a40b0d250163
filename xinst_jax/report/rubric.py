"""What pairs were rated by, and how much of the clusters was drawn, as tables."""

from collections.abc import Mapping
from typing import Any

from xinst_jax.report.grid import Table


def tables(
    statistics: Mapping[str, Any] | None, names: Mapping[str, str]
) -> list[Table]:
    """The levels that the rater learnt, the rules, and each language's thresholds.

    Args:
      statistics: the dataset's; None before there are any.
      names: the languages' names by code.
    """
    rubric = (statistics or {}).get("rubric")
    if not rubric:
        return []
    return [
        Table(
            "What the rater learnt the levels from: pairs taken for good, and the same "
            "pairs with a defect, which their lengths do not show.",
            [],
            ["Level", "defect", "what is done"],
            [
                [level, defect.replace("_", " "), what]
                for level, defect, what in rubric["levels"]
            ],
            words=True,
        ),
        Table(
            "What is not kept, whatever its score.",
            [],
            ["Rule", "the pair"],
            [[reason.replace("_", " "), what] for reason, what in rubric["rules"]],
            words=True,
        ),
        Table(
            "Kept is what scores at least the lowest, and is among the best share of "
            "all candidates of its language.",
            [],
            ["Language", "lowest score", "best share"],
            [
                [
                    names.get(code, code),
                    f"{own['min_score']:g}",
                    f"{own['keep_share']:.0%}",
                ]
                for code, own in rubric["thresholds"].items()
            ],
        ),
    ]


def coverage(
    statistics: Mapping[str, Any] | None, names: Mapping[str, str]
) -> list[Table]:
    """Of how many of its clusters each language's pairs were drawn, and the verb cap.

    Args:
      statistics: the dataset's; None before there are any.
      names: the languages' names by code.
    """
    found = {
        names.get(code, code): figures
        for code, figures in (statistics or {"languages": {}})["languages"].items()
        if figures["rows"] and "clusters" in figures
    }
    if not found:
        return []
    table = Table(
        "Clusters of the instructions of each language that pairs were drawn from, and "
        "the largest share of the pairs that one root verb might have. Where there are "
        "too few verbs for the share asked for, it is lifted.",
        [],
        ["Language", "drawn from", "clusters", "share asked for", "share applied"],
        [
            [
                name,
                f"{figures['clusters']['drawn']:,}",
                f"{figures['clusters']['all']:,}",
                *(
                    f"{figures['diversity']['verb_cap'][which]:.0%}"
                    if "verb_cap" in figures["diversity"]
                    else "–"
                    for which in ("asked", "applied")
                ),
            ]
            for name, figures in found.items()
        ],
    )
    return [table]
