"""Parts of a dataset's card: the rubric of its ratings, and the clusters drawn from."""

from collections.abc import Mapping
from typing import Any

from xinst_jax.hf.cards import table


def rubric_section(rubric: Mapping[str, Any], languages: Mapping[str, str]) -> str:
    """What the rater learnt, what was dropped whatever its score, and the thresholds.

    Args:
      rubric: levels (level, defect, what), rules (reason, what), and thresholds by
        language code (min_score, keep_share).
      languages: English name of each language by code.
    """
    levels = [
        (level, defect.replace("_", " "), what)
        for level, defect, what in rubric["levels"]
    ]
    thresholds = [
        (
            f"{languages[code]} ({code})",
            f"{own['min_score']:g}",
            f"{own['keep_share']:.0%}",
        )
        for code, own in rubric["thresholds"].items()
        if code in languages
    ]
    return f"""The rater learnt the three levels from pairs taken for good and from the
same pairs spoilt; none of these defects shows by the length of a text.

{table(("level", "defect", "what is done"), levels)}

A pair is kept if its score is at least the lowest and among the best share of all
candidates of its language, and if it breaks no rule:

{table(("language", "lowest score", "best share"), thresholds)}

{table(("rule", "the pair"), [tuple(rule) for rule in rubric["rules"]])}"""


def coverage_table(
    coverage: Mapping[str, Mapping[str, Any]], languages: Mapping[str, str]
) -> str:
    """How many of each language's clusters pairs were drawn from.

    Args:
      coverage: by language code, drawn and all: numbers of clusters; asked and applied:
        largest share that one verb might have, as configured and as the verbs allowed,
        where that was recorded.
      languages: English name of each language by code.
    """
    rows = [
        (
            f"{languages[code]} ({code})",
            f"{found['drawn']:,} of {found['all']:,}",
            _cap(found),
        )
        for code, found in coverage.items()
    ]
    return table(("language", "clusters drawn from", "most of one verb"), rows)


def _cap(found: Mapping[str, Any]) -> str:
    if "applied" not in found:
        return "not recorded"
    share = f"{found['applied']:.0%}"
    if found["applied"] > found["asked"]:
        return f"{share}, lifted from {found['asked']:.0%}: too few verbs"
    return share
