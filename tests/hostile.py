"""Texts that no corpus should have, and every corpus has."""

TEXTS = {
    "empty": "",
    "blank": " \n\t \n",
    "emoji": "😀👍🏽" * 300,
    "digits": "1234567890 " * 90,
    "surrogates": "\ud800" * 400,
    "nulls": "\x00" * 500,
    "overrides": "\u202e" * 400,
    "ten_megabytes": "Lumi satoi. " * 850_000,
}
