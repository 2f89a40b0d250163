"""Continuous batching: the host's side of reading prompts and refilling slots.

The devices are told what to do next before what they did is looked at, so that they do
not wait for the host: rows that wait in a queue get slots while decoding goes on, and
the next row of prompts is already in line behind it.
"""

import collections
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from xinst_jax.infer import refill
from xinst_jax.infer.decode import Report
from xinst_jax.infer.requests import Request
from xinst_jax.infer.rows import Row, arrays
from xinst_jax.infer.slots import Made, Sizes, Slots
from xinst_jax.infer.stop_strings import cut
from xinst_jax.infer.usage import Usage

_FREE_SHARE = 1 / 16
"""Share of the slots that must get free before decoding stops, with the queue empty."""

_MOST_STEPS = 2**31 - 1
"""Tokens after which to stop decoding: never."""

_TEXT_STEPS = 16
"""Tokens of a row after which its text is searched for a stop string."""

_Keys = tuple[jax.Array, jax.Array]


class Continued(NamedTuple):
    """What a row was continued with.

    Attributes:
      tokens: int32 ids, without the stop token.
      logprobs: float32 of each, and of the stop token after them, if any.
      stopped: whether a stop token ended it.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    stopped: bool


class Programs(NamedTuple):
    """What runs on the devices, and its shapes.

    Attributes:
      slots: empty ones, or those of an earlier call, whose rows are given up.
      devices: over how many devices (or groups of them) rows are divided.
      sizes: widths of the slots' arrays.
      widest: columns of the rows that can be queued.
      read: reads one row of prompts a device: keys and values.
      insert: puts prompts that were read into slots.
      advance: continues the slots, and refills them from a queue.
      text_of: the text of ids.
    """

    slots: Slots
    devices: int
    sizes: Sizes
    widest: int
    read: Callable[..., _Keys]
    insert: Callable[[Slots, _Keys, np.ndarray, np.ndarray], Slots]
    advance: Callable[..., tuple[Slots, Report]]
    text_of: Callable[[Sequence[int]], str] | None


class _Waiting(NamedTuple):
    """A request whose prompt was read: its prompt, and the prompt's first column."""

    request: int
    prompt: int
    column: int


class _Batch(NamedTuple):
    """One row of prompts a device, read together, and what waits in each."""

    keys: _Keys
    width: int
    waiting: list[collections.deque[_Waiting]]

    @property
    def left(self) -> int:
        """How many requests wait."""
        return sum(map(len, self.waiting))


def continue_all(
    programs: Programs,
    prompts: Sequence[Sequence[int]],
    requests: Sequence[Request],
    samples: int,
    rows: Sequence[Row],
    usage: Usage,
) -> tuple[list[Continued], Slots]:
    """Continues every request; all processes of a run do the same.

    Args:
      programs: what runs on the devices.
      prompts: token ids.
      requests: `samples` for each prompt, side by side.
      samples: how many.
      rows: all prompts, packed.
      usage: what is done is added to it.

    Returns:
      What each request was continued with, in their order, and the slots, for the next
      call.
    """
    return _Run(programs, prompts, requests, samples, rows, usage).done()


class _Run:
    """The state of one call of `continue_all`."""

    def __init__(
        self,
        programs: Programs,
        prompts: Sequence[Sequence[int]],
        requests: Sequence[Request],
        samples: int,
        rows: Sequence[Row],
        usage: Usage,
    ):
        self.programs, self.prompts, self.requests = programs, prompts, requests
        self.samples, self.usage, self.slots = samples, usage, programs.slots
        self.rows = collections.deque(rows)
        self.batches: collections.deque[_Batch] = collections.deque()
        self.queued: _Batch | None = None
        self.places: dict[int, _Waiting] = {}
        self.count = len(self.slots.token_b)
        self.of_device = self.count // programs.devices
        self.owner: dict[int, int] = {}
        self.kept_b = np.zeros(self.count, bool)
        self.found: dict[int, Continued] = {}
        self.texts = any(request.stop_strings for request in requests)
        usage.rows += len(requests)
        usage.prompt_tokens += sum(map(len, prompts))

    def done(self) -> tuple[list[Continued], Slots]:
        """Works until nothing is left."""
        while True:
            self._refill()
            if not self.owner:
                found = [self.found[number] for number in range(len(self.requests))]
                return found, self.slots
            report = self._advance()
            if self.rows and self._held() < 2:
                self._read()
            self._collect(jax.device_get(report))

    def _refill(self) -> None:
        """Puts waiting rows into free slots, and reads more prompts for those left."""
        while True:
            free = self._free()
            self._insert_all(free)
            self._forget()
            # A device with a free slot has nothing waiting now.
            if not (self.rows and any(free)):
                return
            self._read()

    def _insert_all(self, free: list[list[int]]) -> None:
        """Puts what fits of all batches into the free slots."""
        for batch in self.batches:
            self._insert(batch, free)

    def _forget(self) -> None:
        """Lets go of batches in which nothing waits."""
        self.batches = collections.deque(batch for batch in self.batches if batch.left)

    def _held(self) -> int:
        """Batches whose keys are kept: a queue is, also used up, for its shape."""
        return len(self.batches) + self._used_up()

    def _used_up(self) -> bool:
        return self.queued is not None and not self.queued.left

    def _free(self) -> list[list[int]]:
        """The free slots of each device, lowest first."""
        return [
            [
                slot
                for slot in range(first, first + self.of_device)
                if slot not in self.owner
            ]
            for first in range(0, self.count, self.of_device)
        ]

    def _read(self) -> None:
        """Reads a row of prompts on each device that is not behind with its own."""
        width = self.rows[0].width
        taken: list[Row | None] = []
        for device in range(self.programs.devices):
            behind = sum(len(batch.waiting[device]) for batch in self.batches)
            here = self.rows and self.rows[0].width == width
            ready = here and behind < self.of_device
            taken.append(self.rows.popleft() if ready else None)
        if not any(taken):
            return
        if width == self.programs.widest and self._used_up():
            self.queued = None  # its keys go before others come
        tokens_bt, segments_bt, positions_bt = arrays(taken, self.prompts, width)
        keys = self.programs.read(tokens_bt, segments_bt, positions_bt)
        waiting = [
            collections.deque(
                _Waiting(prompt * self.samples + sample, prompt, column)
                for prompt, column in (row.members if row else ())
                for sample in range(self.samples)
            )
            for row in taken
        ]
        batch = _Batch(keys, width, waiting)
        self.batches.append(batch)
        if width == self.programs.widest and self.queued is None:
            self.queued = batch
        self.usage.read_tokens += int((segments_bt > 0).sum())
        self.usage.read_columns += tokens_bt.size

    def _insert(self, batch: _Batch, free: list[list[int]]) -> None:
        """Puts what fits of a batch into the free slots, which are used up."""
        chosen: list[list[tuple[int, _Waiting]]] = []
        for waiting, slots in zip(batch.waiting, free, strict=True):
            count = min(len(waiting), len(slots))
            chosen.append([(slots.pop(0), waiting.popleft()) for _ in range(count)])
        if not any(chosen):
            return
        order_b = np.zeros(self.count, np.int32)
        places: dict[int, _Waiting] = {}
        for device, of_device in enumerate(chosen):
            first = device * self.of_device
            for place, (slot, one) in enumerate(of_device):
                order_b[first + place] = slot - first
                places[slot] = one
                self._give(slot, one)
        rows = self._joined(places)
        self.slots = self.programs.insert(self.slots, batch.keys, order_b, rows)

    def _give(self, slot: int, one: _Waiting) -> None:
        self.owner[slot] = one.request
        self.kept_b[slot] = True

    def _joined(self, places: Mapping[int, _Waiting]) -> np.ndarray:
        """What the devices are told of rows at these places."""
        sizes = self.programs.sizes
        made = refill.no_rows(self.count, sizes)
        for place, one in places.items():
            request, prompt = self.requests[one.request], self.prompts[one.prompt]
            made.column_b[place] = one.column
            made.token_b[place] = prompt[-1]
            made.position_b[place] = len(prompt) - 1
            made.limit_b[place] = request.limit
            made.hash_b[place] = request.hash
            made.stops_bn[place, : len(request.stop_ids)] = request.stop_ids
            if sizes.history:
                made.history_bs[place, : len(prompt)] = prompt
        return refill.joined(made)

    def _advance(self) -> Report:
        """Has the slots continued until some are free, or all if nothing waits."""
        queue = self._queue()
        later = len(self.rows) + sum(batch.left for batch in self.batches)
        later -= len(self.places)
        wanted = max(1, int(self.count * _FREE_SHARE)) if later else self.count
        self.slots, report = self.programs.advance(
            self.slots,
            queue,
            self.kept_b.copy(),
            wanted,
            _TEXT_STEPS if self.texts else _MOST_STEPS,
        )
        self.usage.looks += 1
        return report

    def _queue(self) -> tuple[jax.Array, jax.Array, np.ndarray] | None:
        """What waits in the first batch of widest rows; an empty queue after the last.

        Narrower rows would each need a program of decoding: what they hold is put into
        slots when the devices are looked at.
        """
        wide = (one for one in self.batches if one.width == self.programs.widest)
        batch = next(wide, None)
        self.places = {}
        if batch:
            self.queued = batch
            for device, waiting in enumerate(batch.waiting):
                first = device * self.of_device
                some = itertools.islice(waiting, self.of_device)
                self.places |= dict(enumerate(some, first))
        if self.queued is None:
            return None
        return *self.queued.keys, self._joined(self.places)

    def _collect(self, report: Report) -> None:
        """Takes what is finished out of its slots."""
        usage = self.usage
        usage.steps += int(report.steps)
        usage.slot_steps += int(report.steps) * self.count
        usage.live_slot_steps += int(report.live_steps)
        self._follow(report.turns)
        for slot, number in list(self.owner.items()):
            count = int(report.made.count_b[slot])
            tokens = np.asarray(report.made.tokens_bg[slot, :count])
            if report.live_b[slot] and not self._ended(number, tokens):
                continue
            self._take(slot, report.made, slot)

    def _follow(self, turns: refill.Turns) -> None:
        """Follows rows of the queue into their slots, one after another."""
        for place, one in self.places.items():
            device = place // self.of_device
            if turns.slot_b[place] < 0:
                continue
            slot = device * self.of_device + int(turns.slot_b[place])
            if slot in self.owner:
                self._take(slot, turns.before, place)
            assert self.queued is not None
            self.queued.waiting[device].popleft()
            self._give(slot, one)
        self._forget()

    def _take(self, slot: int, made: Made, place: int) -> None:
        """Takes what the finished row of a slot was continued with, at this place."""
        count, stopped = int(made.count_b[place]), bool(made.stopped_b[place])
        self.found[self.owner.pop(slot)] = Continued(
            np.asarray(made.tokens_bg[place, :count]),
            np.asarray(made.logprobs_bg[place, : count + stopped]),
            stopped,
        )
        self.kept_b[slot] = False
        self.usage.new_tokens += count + stopped

    def _ended(self, number: int, tokens: np.ndarray) -> bool:
        """Whether a live row's text holds a stop string."""
        strings = self.requests[number].stop_strings
        if not strings:
            return False
        assert self.programs.text_of is not None
        return cut(tokens.tolist(), strings, self.programs.text_of) is not None
