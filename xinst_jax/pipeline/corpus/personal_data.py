"""Personal data masked: e-mail and network addresses, phones, cards, bank accounts."""

import collections
import ipaddress
import unicodedata
from collections.abc import Callable, Mapping

import regex

from xinst_jax.pipeline.corpus import number_words

EMAIL, PHONE, IP, CARD, IBAN = "email", "phone", "ip", "card", "iban"
MASKS: dict[str, str] = {
    kind: f"<{kind.upper()}>" for kind in (EMAIL, IBAN, CARD, IP, PHONE)
}
"""What stands in place of each kind."""

_EMAIL = regex.compile(
    r"[\p{L}\p{N}][\p{L}\p{M}\p{N}._%+-]{0,63}+@"
    r"[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]*+\.)++[\p{L}\p{M}]{2,24}"
)
# Two letters, two check digits and groups of letters and digits (ISO 13616).
_IBAN = regex.compile(
    r"(?<![\p{L}\p{N}])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?"
    r"(?![\p{L}\p{N}])"
)
_IPV4 = regex.compile(
    r"(?<![\p{L}\p{N}.])\p{Nd}{1,3}(?:\.\p{Nd}{1,3}){3}(?![\p{L}\p{N}]|\.\p{N})"
)
_IPV6 = regex.compile(
    r"(?<![\p{L}\p{N}:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\p{L}\p{N}:])"
)
_CARD = regex.compile(
    r"(?<![\p{N}.,-])\p{Nd}(?:[ -]?\p{Nd}){12,18}(?![\p{N}-]|[.,]\p{N})"
)
_PHONE = regex.compile(
    r"(?<![\p{L}\p{N}.,/_=-])[+＋]?\(?\p{Nd}(?:[ .()/\u00a0–-]{0,2}\p{Nd}){6,14}"
    r"(?![\p{L}\p{N}]|[.,:/-]\p{N})"
)
# What has the digits of a telephone's number and is none, in ASCII without brackets.
_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_YEAR = r"(?:1[5-9]|20|2[45])\d\d"
_HOUR = r"(?:[01]?\d|2[0-4])\.[0-5]\d"
_DASH = r" ?[–-] ?"
# Whatever word stands before it.
_OTHER_NUMBER = regex.compile(
    rf"{_DAY}(?P<mark>[./-]) ?{_MONTH}(?P=mark) ?(?:\d\d|{_YEAR})"
    rf"|{_YEAR}(?P<sign>[./-]){_MONTH}(?P=sign){_DAY}"
    rf"|{_YEAR}{_DASH}{_YEAR}|{_HOUR}{_DASH}{_HOUR}"
    # A reference; frequencies; a sum in thousands, but for three groups of three.
    rf"|\d+/\d{{1,2}}/{_YEAR}|[1-9]\d{{2,3}}(?:/\d{{3,4}})+"
    r"|[1-9]\d?(?:[ .\u00a0]\d{3})+|[1-9]\d\d(?:[ .\u00a0]\d{3})*[ .\u00a0]000"
)
# Where no word says that it is a telephone's: binary digits, and decimals, which may go
# on to other numbers.
_DATE = regex.compile(
    r"\d{1,2}[./ -]\d{1,2}[./ -]\d{2,4}|\d{4}[./ -]\d{1,2}[./ -]\d{1,2}"
    rf"|\d{{4}}{_DASH}\d{{4}}|[01 ]+|0\.\d.*"
)
_DIGITS = regex.compile(r"\p{Nd}")
_BOOK_NUMBER = regex.compile(r"IS[BS]N[\s:-]*(?:1[03])?[\s:-]*$", regex.IGNORECASE)
_BEFORE = 40
# The only part of the space that is given out (RFC 4291, 2.4; IANA).
_UNICAST = ipaddress.ip_network("2000::/3")
# Thousands: groups of three behind the first.
_ONE_NUMBER = regex.compile(r"\d{1,3}(?:[ .\u00a0]\d{3})+")
_GROUP = regex.compile(r"(?<=\s)[+＋]?\(?\p{Nd}{2,}")
_MORE_DIGITS = regex.compile(r"\s?\p{Nd}")
_FIRST_GROUPS = {
    CARD: regex.compile(r"[2-6]\d{3}"),
    PHONE: regex.compile(r"0[1-9]"),
}
"""What a number begins with that may stand behind another."""


def mask(text: str) -> tuple[str, Mapping[str, int]]:
    """A text with personal data masked, and how much of it there was, by kind.

    Digits of every script count as digits. Cards and accounts are masked where their
    check digits are right (Luhn; ISO 7064 MOD 97-10), addresses of a network where they
    are valid and public. A number is a phone's if it has 8 to 15 digits (ITU-T E.164)
    and begins with '+' or a 0 that is no date's, or if it has 7 or more and follows a
    word for a phone; dates, times, spans of years and sums in thousands are none. What
    follows a word for a version is no address. Cards' and phones' numbers may stand
    right behind another number.

    >>> mask("Kirjoita: aino@esimerkki.fi tai soita +358 40 123 4567.")
    ('Kirjoita: <EMAIL> tai soita <PHONE>.', {'email': 1, 'phone': 1})

    Returns:
      The text, and counts of the kinds that were found.
    """
    counts: collections.Counter[str] = collections.Counter()

    def put(
        text: str,
        kind: str,
        pattern: regex.Pattern,
        real: Callable[[regex.Match], bool],
    ) -> str:
        def masked(match: regex.Match) -> str:
            if not real(match):
                return match[0]
            counts[kind] += 1
            return MASKS[kind]

        return pattern.sub(masked, text)

    def put_behind_numbers(
        text: str,
        kind: str,
        pattern: regex.Pattern,
        real: Callable[[regex.Match], bool],
    ) -> str:
        parts, done, start, behind = [], 0, 0, -1
        while match := pattern.search(text, start):
            start, restarted = match.end(), match.start() == behind
            behind = -1
            if real(match) and not (restarted and _goes_on(match, kind)):
                counts[kind] += 1
                parts += [text[done : match.start()], MASKS[kind]]
                done = match.end()
            elif not restarted and not _ONE_NUMBER.fullmatch(
                _ascii(match[0], " .\u00a0")
            ):
                behind = _behind_number(match, kind)
                start = start if behind < 0 else behind
        return "".join([*parts, text[done:]])

    if "@" in text:
        text = put(text, EMAIL, _EMAIL, lambda match: True)
    if ":" in text:
        text = put(text, IP, _IPV6, lambda match: _is_public(match[0]))
    if _DIGITS.search(text):
        text = put(text, IBAN, _IBAN, lambda match: _is_iban(match[0]))
        text = put_behind_numbers(
            text, CARD, _CARD, lambda match: _is_card(_ascii(match[0]))
        )
        text = put(text, IP, _IPV4, _is_address)
        text = put_behind_numbers(text, PHONE, _PHONE, _is_phone)
    return text, dict(sorted(counts.items()))


def _behind_number(match: regex.Match, kind: str) -> int:
    """Where in digits that are no number of the kind one may begin; -1 for nowhere."""
    groups = _GROUP.finditer(match.string, match.start() + 1, match.end())
    begins = _FIRST_GROUPS[kind]
    return next((g.start() for g in groups if begins.match(_ascii(g[0]))), -1)


def _goes_on(match: regex.Match, kind: str) -> bool:
    """Whether a card's number is followed by digits: of years in a row one in ten has
    the right check digit."""
    return kind == CARD and bool(_MORE_DIGITS.match(match.string, match.end()))


def _ascii(text: str, keep: str = "") -> str:
    """A text's digits, of whatever script, in ASCII, and the characters of `keep`."""
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c
        for c in text
        if c.isdecimal() or c in keep
    )


def _is_address(match: regex.Match) -> bool:
    """Whether four numbers are an address and not a version."""
    return _is_public(_ascii(match[0], ".")) and not number_words.is_versions(
        _before(match)
    )


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and (found.version == 4 or found in _UNICAST)


def _before(match: regex.Match) -> str:
    return match.string[max(0, match.start() - _BEFORE) : match.start()]


def _is_iban(found: str) -> bool:
    """Whether its check digits are right: ISO 7064, MOD 97-10."""
    compact = regex.sub(r"[ -]", "", found)
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _is_card(digits: str) -> bool:
    """Whether its check digit is right (Luhn) and its first is a card network's."""
    doubled = [int(d) * 2 for d in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(d - 9 * (d > 9) for d in doubled)
    return total % 10 == 0 and digits[0] in "23456" and len(set(digits)) > 1


def _is_phone(match: regex.Match) -> bool:
    found, before = match[0], _before(match)
    digits, written = _ascii(found), _ascii(found, "./ \u00a0–-").strip()
    if len(digits) > 15 or _BOOK_NUMBER.search(before):
        return False
    if _OTHER_NUMBER.fullmatch(written) and found[0] not in "+＋":
        return False
    if number_words.is_phones(before):
        return True
    if len(digits) < 8 or _DATE.fullmatch(written):
        return False
    international = found[0] in "+＋" or (digits[:2] == "00" and len(digits) > 10)
    return international or (digits[0] == "0" and digits[1] != "0")
