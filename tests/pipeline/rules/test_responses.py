"""Responses that break off, and that are not of the type asked for."""

import pytest

from xinst_jax.pipeline.rules import responses

_FINNISH = "Suomessa on yli sata tuhatta järveä, ja ne syntyivät jääkauden jälkeen."


_UNFINISHED = (
    "Suomessa on järviä. Ne syntyivät jääkauden",
    "Järvet syntyivät, kun mannerjää suli,",
    "Danau itu luas. Airnya berasal dari (",
    "झील बड़ी है। इसका पानी",
    "ஏரி பெரியது. அதன் நீர்",
    "جھیل بڑی ہے۔ اس کا پانی",
    "হ্রদটি বড়। এর জল",
    "ทะเลสาบกว้างและ",
    "Göl büyüktür. Suyu nereden gelir [...]",
    "",
)
_FINISHED = (
    _FINNISH,
    "Danau itu luas. Airnya jernih!",
    "झील बड़ी है। इसका पानी साफ है।",
    "جھیل بڑی ہے۔ اس کا پانی صاف ہے۔",
    "ทะเลสาบกว้างมาก",
    'Hän sanoi. "Hyvää yötä."',
    "Ota mukaan nämä.\n1. Takki\n2. Hanskat",
    "Järvi on suuri. Se syntyi vuonna 1913",
    "Ziwa Victoria",
)


@pytest.mark.parametrize("text", _UNFINISHED)
def test_a_response_that_breaks_off_is_found(text: str):
    assert responses.is_unfinished(text)


@pytest.mark.parametrize("text", _FINISHED)
def test_a_response_that_ends_is_not_unfinished(text: str):
    assert not responses.is_unfinished(text)


_LONG = "Se on vesi. Sitä on paljon. Sitä juodaan kuumana."
_LISTED = "Tässä ne ovat:\n1. Takki\n2. Hanskat\n3. Pipo"


@pytest.mark.parametrize(
    ("instruction", "response", "kind"),
    [
        ("Explain it in bullet points.", _LONG, "items"),
        ("Explain it in bullet points.", _LISTED, None),
        ("Explain it in bullet points.", "Näin:\n- Vesi\n- Tee", None),
        ("Write a numbered list of teas.", "इसमें १. चाय २. दूध ३. पानी है।", None),
        ("Give me a list of teas.", _LONG, "list"),
        ("Give me a list of teas.", "Assam, Darjeeling, Ceylon ja Keemun.", None),
        ("Create a list of teas.", "چائے، دودھ، پانی اور چینی۔", None),
        ("Make a list of teas.", "ชาเขียว ชาดำ ชาขาว", None),
        ("Make a list of teas.", "Assam\nCeylon\nKeemun", None),
        ("Explain why a list of names is sorted.", _LONG, None),
        ("Show the prices in a table.", _LONG, "table"),
        ("Show the prices in a table.", "Tee | 2 €\nKahvi | 3 €", None),
        ("Give tips for table tennis.", _LONG, None),
        ("Write a Python function that adds.", _LONG, "code"),
        ("Write a Python function that adds.", "def add(a, b):\n  return a + b", None),
        ("Explain how pythons hunt.", _LONG, None),
        ("Name seven teas.", "Assam, Ceylon ja Keemun.", "number of things"),
        ("Name three teas.", "Assam, Ceylon ja Keemun.", None),
        ("Suggest 5 ways to save water.", _LONG, "number of things"),
        ("Suggest 3 ways to save water.", _LONG, None),
        ("Give five percent of it away. Why?", _LONG, None),
        ("Name three teas.", "ชาเขียว ชาดำ ชาขาว", None),
    ],
)
def test_an_answer_of_another_type_is_found(instruction, response, kind):
    assert responses.missing_answer_type(instruction, response) == kind


def test_every_answer_type_is_named_once():
    names = [kind.name for kind in responses.ANSWER_TYPES]
    assert len(set(names)) == len(names)
