"""Prompts with their continuations as packed rows: what lies where, what is scored.

A prompt stands in a row once, and behind it each of its continuations but for the last
token, which nothing is predicted from. The first token of a continuation is predicted
from the prompt's last, so that one of a single token takes no place at all.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from xinst_jax.infer.rows import best_fit

_LEAST_TARGETS = 8
"""Targets of a row, at least, that a program is compiled for."""

Tokens = Sequence[int]


@dataclasses.dataclass(frozen=True)
class Group:
    """A prompt in a row, with those of its continuations that stand behind it.

    Attributes:
      prompt: its number.
      members: numbers of its continuations, among the prompt's own.
      columns: places that all of them take.
    """

    prompt: int
    members: tuple[int, ...]
    columns: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """A batch of packed rows, B of T columns, with at most M targets each; int32.

    Attributes:
      tokens_bt: token ids.
      segment_ids_bt: of a prompt and its continuations, from 1; 0 is padding.
      positions_bt: in the segment; each continuation's go on after the prompt's.
      branch_ids_bt: 0 for a prompt, and from 1 for its continuations; None where no
        segment of the call forks.
      columns_bm: where the hidden state is that predicts each target.
      targets_bm: the tokens to score.
      owners_bm: the continuation that a target is of, counted over all prompts; -1
        where a row has no more.
    """

    tokens_bt: np.ndarray
    segment_ids_bt: np.ndarray
    positions_bt: np.ndarray
    branch_ids_bt: np.ndarray | None
    columns_bm: np.ndarray
    targets_bm: np.ndarray
    owners_bm: np.ndarray

    @property
    def most_targets(self) -> int:
        """Targets of the row that has most."""
        return int((self.owners_bm >= 0).sum(axis=1).max())


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which group goes where; rows are made of it batch by batch.

    Attributes:
      prompts: token ids of each prompt.
      continuations: token ids of each continuation of each prompt.
      rows: of each packed row its groups, and the first column of each.
      length: columns T of a row.
    """

    prompts: Sequence[Tokens]
    continuations: Sequence[Sequence[Tokens]]
    rows: list[list[tuple[Group, int]]]
    length: int

    @property
    def forks(self) -> bool:
        """Whether two continuations of a prompt take places in one segment."""
        return any(
            sum(len(self.continuations[group.prompt][k]) > 1 for k in group.members) > 1
            for row in self.rows
            for group, _ in row
        )

    @property
    def targets(self) -> int:
        """Room for targets M of a row: a power of two, and all rows have it."""
        most = max(
            (
                sum(
                    len(self.continuations[group.prompt][k])
                    for group, _ in row
                    for k in group.members
                )
                for row in self.rows
            ),
            default=0,
        )
        return max(_LEAST_TARGETS, 1 << (most - 1).bit_length()) if most else 0

    def batches(self, batch_rows: int) -> Iterator[Rows]:
        """The rows, `batch_rows` at a time; padding fills the last batch up."""
        sizes = [len(of_prompt) for of_prompt in self.continuations]
        firsts = [0, *itertools.accumulate(sizes)]
        forks, targets = self.forks, self.targets
        for start in range(0, len(self.rows), batch_rows):
            made = _empty(batch_rows, self.length, targets)
            for place, row in enumerate(self.rows[start : start + batch_rows]):
                self._fill(made, place, row, firsts)
            yield made if forks else dataclasses.replace(made, branch_ids_bt=None)

    def _fill(
        self,
        made: Rows,
        place: int,
        row: list[tuple[Group, int]],
        firsts: Sequence[int],
    ) -> None:
        found = 0
        assert made.branch_ids_bt is not None
        for segment, (group, first) in enumerate(row, 1):
            prompt = self.prompts[group.prompt]
            last, column = first + len(prompt) - 1, first + len(prompt)
            made.tokens_bt[place, first:column] = prompt
            made.positions_bt[place, first:column] = np.arange(len(prompt))
            for branch, member in enumerate(group.members, 1):
                tokens = self.continuations[group.prompt][member]
                end = column + len(tokens) - 1
                positions = len(prompt) + np.arange(len(tokens) - 1)
                made.tokens_bt[place, column:end] = tokens[:-1]
                made.positions_bt[place, column:end] = positions
                made.branch_ids_bt[place, column:end] = branch
                here = slice(found, found + len(tokens))
                made.columns_bm[place, here] = [last, *range(column, end)]
                made.targets_bm[place, here] = tokens
                made.owners_bm[place, here] = firsts[group.prompt] + member
                found, column = here.stop, end
            made.segment_ids_bt[place, first:column] = segment


def plan(
    prompts: Sequence[Tokens], continuations: Sequence[Sequence[Tokens]], length: int
) -> Plan:
    """Packs prompts with their continuations into rows of `length` columns.

    Continuations that do not fit into one row behind their prompt go to several, each
    of which has the prompt again. So do those of a prompt of one token: that it stands
    there once would save a column each, and cost them attention without forks.

    Args:
      prompts: token ids of each, none empty.
      continuations: of each prompt; none empty, and none longer behind it than a row
        but for its last token.
      length: columns of a row.
    """
    groups = [
        group
        for number, (prompt, of_prompt) in enumerate(
            zip(prompts, continuations, strict=True)
        )
        for group in _groups(number, len(prompt), of_prompt, length)
    ]
    fitted = best_fit([group.columns for group in groups], length)
    rows = [[(groups[number], first) for number, first in row] for row in fitted]
    return Plan(prompts, continuations, rows, length)


def _groups(
    number: int, prompt: int, continuations: Sequence[Tokens], length: int
) -> Iterator[Group]:
    """The continuations of a prompt, as many behind it as a row holds."""
    members: list[int] = []
    columns = prompt
    for member, tokens in enumerate(continuations):
        more = len(tokens) - 1
        if members and (prompt == 1 or columns + more > length):
            yield Group(number, tuple(members), columns)
            members, columns = [], prompt
        members.append(member)
        columns += more
    if members:
        yield Group(number, tuple(members), columns)


def _empty(rows: int, length: int, targets: int) -> Rows:
    tokens_bt, segments_bt, positions_bt, branches_bt = np.zeros(
        (4, rows, length), np.int32
    )
    columns_bm, targets_bm = np.zeros((2, rows, targets), np.int32)
    owners_bm = np.full((rows, targets), -1, np.int32)
    return Rows(
        tokens_bt,
        segments_bt,
        positions_bt,
        branches_bt,
        columns_bm,
        targets_bm,
        owners_bm,
    )
