"""Numbers as persons have them, with right check digits, in a script's digits."""

import numpy as np

_ZERO = {"th": "๐", "bn": "০", "hi": "०", "ta": "௦", "ur": "۰"}
_BANKS = ("DE", "FI", "TR", "GB")
_BBAN_DIGITS = {"DE": 18, "FI": 14, "TR": 22, "GB": 14}


def own_digits(number: str, code: str) -> str:
    """A number in the digits of the language's script; Latin ones stay.

    >>> own_digits("0912 5", "hi")
    '०९१२ ५'
    """
    zero = ord(_ZERO.get(code, "0"))
    return "".join(chr(zero + int(c)) if c.isdecimal() else c for c in number)


def phone(rng: np.random.Generator) -> str:
    """A number as it is dialled within a country: '0' and nine digits, grouped."""
    first, second, third = _digits(rng, 2, 1), _digits(rng, 3), _digits(rng, 4)
    return f"0{first} {second} {third}"


def address(rng: np.random.Generator) -> str:
    """A public IPv4 address; none of 11 to 99 as the first byte is wholly reserved."""
    return ".".join(map(str, [int(rng.integers(11, 100)), *rng.integers(1, 255, 3)]))


def card(rng: np.random.Generator) -> str:
    """Sixteen digits in fours that begin with 4, the last right by Luhn's algorithm."""
    body = f"4{_digits(rng, 14)}"
    # Of the whole number every other digit counts twice, from the last but one on.
    doubled = [int(d) * 2 for d in body[::-2]]
    total = sum(d - 9 * (d > 9) for d in doubled) + sum(map(int, body[-2::-2]))
    whole = f"{body}{-total % 10}"
    return " ".join(whole[place : place + 4] for place in range(0, 16, 4))


def iban(rng: np.random.Generator) -> str:
    """An account number in fours, its check digits right by ISO 7064, MOD 97-10."""
    country = _BANKS[int(rng.integers(len(_BANKS)))]
    bank = "NWBK" if country == "GB" else ""
    account = bank + _digits(rng, _BBAN_DIGITS[country])
    moved = f"{account}{country}00"
    check = 98 - int("".join(str(int(c, 36)) for c in moved)) % 97
    whole = f"{country}{check:02d}{account}"
    return " ".join(whole[place : place + 4] for place in range(0, len(whole), 4))


def _digits(rng: np.random.Generator, count: int, least: int = 0) -> str:
    return "".join(map(str, rng.integers(least, 10, count)))
