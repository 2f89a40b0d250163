"""What is asked of each row that is to be continued."""

import dataclasses
from collections.abc import Sequence

from xinst_jax.errors import UserError
from xinst_jax.infer.sample import row_hash


@dataclasses.dataclass(frozen=True)
class Request:
    """One row to be continued.

    Attributes:
      hash: `sample.row_hash`.
      limit: most new tokens.
      stop_ids: ids that end it.
      stop_strings: texts that end it.
    """

    hash: int
    limit: int
    stop_ids: tuple[int, ...]
    stop_strings: tuple[str, ...]


def requests_of(
    row_ids: Sequence[str],
    limits: Sequence[int],
    stop_ids: Sequence[Sequence[int]],
    stop_strings: Sequence[Sequence[str]],
    samples: int,
    count: int,
    most: int,
) -> list[Request]:
    """The requests of some prompts, those of one side by side.

    Args:
      row_ids: a name for each prompt.
      limits: new tokens of each.
      stop_ids: of each.
      stop_strings: of each.
      samples: rows for each prompt.
      count: prompts.
      most: highest limit.

    Raises:
      UserError: something is not given for each prompt, or cannot be.
    """
    given: dict[str, Sequence[object]] = {
        "row_ids": row_ids,
        "max_new_tokens": limits,
        "stop_ids": stop_ids,
        "stop_strings": stop_strings,
    }
    for name, of_rows in given.items():
        if len(of_rows) != count:
            raise UserError(
                f"generate was given {count} prompts and {len(of_rows)} {name}; give "
                "one for each prompt."
            )
    if samples < 1:
        raise UserError(f"samples = {samples}; expected at least one.")
    for row, limit in enumerate(limits):
        if not 0 < limit <= most:
            raise UserError(
                f"Row {row} asks for {limit} new tokens; expected 1 to "
                f"DecodeConfig.max_new_tokens = {most}."
            )
    return [
        Request(
            row_hash(row_ids[row], sample),
            limits[row],
            tuple(stop_ids[row]),
            tuple(one for one in stop_strings[row] if one),
        )
        for row in range(count)
        for sample in range(samples)
    ]
