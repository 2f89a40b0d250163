"""A cap on how many of the drawn pairs may ask for the same root verb.

Nearly half of a released dataset may be *write*. With a cap of 0.15 no verb is the
root of more than 15 in 100 of a language's drawn instructions; what was not drawn
before takes the places that become free.
"""

import collections
from collections.abc import Sequence

import numpy as np

from xinst_jax.pipeline.diversity.figures import verb_weights
from xinst_jax.pipeline.diversity.selection import Pool, Selection


def draw(
    pool: Pool, select: Selection, verb_n: Sequence[str | None], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws again and again without what is too much of a verb, until nothing is.

    Of a verb that is drawn too often the first in the draw by score stay, and nothing
    else of it is drawn any more. Each time something is barred for good, so it ends.

    Args:
      pool: what may be drawn from.
      select: how.
      verb_n: root verb of each row; None is no verb, and has no cap.
      share: largest share of the drawn rows that one verb may have; see `feasible`.

    Returns:
      Whether each row is drawn, and whether it was and had to give way; bool (N,).
    """
    count = len(verb_n)
    barred_n, gave_way_n = np.zeros(count, bool), np.zeros(count, bool)
    share = feasible(share, [verb_n[row] for rows_m in pool.members for row in rows_m])
    rows_of: dict[str, list[int]] = collections.defaultdict(list)
    for row, verb in enumerate(verb_n):
        if verb is not None:
            rows_of[verb].append(row)
    while True:
        drawn_n = np.zeros(count, bool)
        drawn_n[select(pool.without(barred_n))] = True
        most = max(1, int(share * drawn_n.sum() + 1e-9))
        too_much = False
        for rows in rows_of.values():
            rows_m = np.array(rows)
            own_m = rows_m[drawn_n[rows_m]]
            if len(own_m) > most:
                too_much = True
                stays_m = pool.best(own_m, most)
                barred_n[np.setdiff1d(rows_m, stays_m)] = True
                gave_way_n[np.setdiff1d(own_m, stays_m)] = True
        if not too_much:
            return drawn_n, gave_way_n


def feasible(share: float, verbs: Sequence[str | None]) -> float:
    """The share, or that of each where the verbs are too few for it.

    Three verbs cannot all stay below 15 in 100: a third is then what each may have.

        feasible(0.15, ["write", "tell", "give", "give"])   # 1/3
    """
    kinds = len(set(verbs) - {None})
    return max(share, 1 / kinds) if kinds else 1.0


def capped_weights(
    weight_n: np.ndarray, verb_n: Sequence[str | None], share: float
) -> np.ndarray:
    """Weights of which no verb has more than a share; the mean stays what it was.

    Example: weights 6, 1, 1, 1, 1 of five verbs and a share of 0.4 give 2.67, 1, 1, 1,
    1, times 1.5: the first has 0.4 of their sum.

    Args:
      weight_n: weights, 0 for what is not drawn.
      verb_n: root verb of each row; None is no verb, and has no cap.
      share: largest share of the weights that one verb may have; see `feasible`.
    """
    drawn = np.flatnonzero(weight_n > 0).tolist()
    share = feasible(share, [verb_n[row] for row in drawn])
    total = float(weight_n.sum())
    of_verb = verb_weights([verb_n[row] for row in drawn], weight_n[drawn])
    capped: dict[str, float] = {}
    for verb, weight in sorted(of_verb.items(), key=lambda item: -item[1]):
        rest = total - sum(of_verb[name] for name in capped)
        allowed = share * rest / (1 - share * len(capped))
        if weight <= allowed * (1 + 1e-9):
            break
        capped[verb] = weight
    if not capped:
        return weight_n
    rest = total - sum(capped.values())
    if rest <= 0 or share * len(capped) >= 1:
        # Nothing but verbs at their cap: all the same.
        allowed = total / len(capped)
    else:
        allowed = share * rest / (1 - share * len(capped))
    # Shares first: a verb's weight may be so small that its factor would be infinite.
    new_n = np.array(
        [
            allowed * (weight / capped[verb])
            if verb is not None and verb in capped
            else weight
            for verb, weight in zip(verb_n, weight_n.tolist(), strict=True)
        ]
    )
    return (new_n * (total / new_n.sum())).astype(np.float32)
