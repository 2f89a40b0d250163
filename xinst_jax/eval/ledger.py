"""What requests cost, kept before they are sent, so that a limit is never passed.

The ledger is a file of lines, each flushed to the disk: a reservation of the most that
a request can cost before it is sent, and what it did cost after. A process killed in
between leaves a reservation open, which counts in full: the money may be gone.
"""

import decimal
import json
import math
import os
import pathlib
import threading
from typing import Any

from xinst_jax import shards
from xinst_jax.errors import UserError

_NANO = 10**9


class LimitReached(UserError):
    """The next request could pass the cost limit."""


def nano_usd(
    prompt_tokens: int, completion_tokens: int, prompt_price: float, price: float
) -> int:
    """Price of a request in units of 10**-9 dollars, rounded up.

    >>> nano_usd(1000, 10, 2.5, 10.0)
    2600000

    Args:
      prompt_tokens: tokens sent.
      completion_tokens: tokens received.
      prompt_price: dollars for a million tokens sent.
      price: dollars for a million tokens received.
    """
    each = decimal.Decimal(str(prompt_price)), decimal.Decimal(str(price))
    return math.ceil((prompt_tokens * each[0] + completion_tokens * each[1]) * 1000)


def usd(nano: int) -> str:
    """An amount for people.

    >>> usd(2_600_000)
    '$0.0026'
    """
    return f"${nano / _NANO:,.4f}"


class Ledger:
    """Reservations and payments against one limit; safe between threads."""

    def __init__(self, path: pathlib.Path, limit_usd: float):
        """Reads what was reserved and paid before.

        Args:
          path: the file; made if missing. A last line torn by a kill was never acted
            on, and is cut off.
          limit_usd: most that may be reserved and paid together, in dollars; 0 for no
            limit.

        Raises:
          UserError: a line that is not the last cannot be read.
        """
        self._path = path
        self._limit = math.floor(decimal.Decimal(str(limit_usd)) * _NANO)
        self._limited = limit_usd > 0
        self._changed = threading.Condition()
        self._open: dict[int, int] = {}
        self._here = 0
        self._paid = 0
        self._next = 0
        for line in self._lines():
            self._take(line)

    @property
    def spent(self) -> int:
        """Nano-dollars paid, and reserved by requests of unknown fate."""
        with self._changed:
            return self._paid + sum(self._open.values())

    def reserve(self, name: str, nano: int) -> int:
        """Sets aside the most that a request can cost; gives the reservation's number.

        Waits where other requests under way may leave enough once they are paid.

        Args:
          name: the request's digest, for who reads the file.
          nano: nano-dollars.

        Raises:
          LimitReached: the limit would be passed even if those cost nothing.
        """
        with self._changed:
            while self._limited and self._reserved() + nano > self._limit:
                if not self._here:
                    raise LimitReached(
                        f"The next request could cost {usd(nano)}, and "
                        f"{usd(self._reserved())} of EndpointConfig.cost_limit_usd = "
                        f"{self._limit / _NANO:g} are spent. What came is kept: raise "
                        "the limit and run the same command again to go on."
                    )
                self._changed.wait()
            number = self._next
            line = {"request": name, "number": number, "reserved": nano}
            self._write(line)
            self._take(line)
            self._here += 1
            return number

    def pay(self, number: int, nano: int) -> None:
        """Puts what a request cost in the place of its reservation."""
        with self._changed:
            line = {"number": number, "paid": nano}
            self._write(line)
            self._take(line)
            self._here -= 1
            self._changed.notify_all()

    def abandon(self) -> None:
        """Says that a request's fate is not known: its reservation stays."""
        with self._changed:
            self._here -= 1
            self._changed.notify_all()

    def _reserved(self) -> int:
        return self._paid + sum(self._open.values())

    def _take(self, line: dict[str, Any]) -> None:
        number = line["number"]
        if "reserved" in line:
            self._open[number] = line["reserved"]
            self._next = number + 1
        else:
            self._open.pop(number)
            self._paid += line["paid"]

    def _write(self, line: dict[str, Any]) -> None:
        with shards.told_when_full(self._path), self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        lines = []
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                line = json.loads(text)
                lines.append({key: line[key] for key in line})
                int(line["number"]), int(line.get("reserved", line.get("paid")))
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(
                    f"{self._path}, line {number} is damaged: it is the record of what "
                    "was spent. Repair it, or remove the folder and its completions."
                ) from error
        return lines
