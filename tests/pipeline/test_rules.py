"""The instruction rules, each on pairs that break it and on hard ones that do not."""

import pathlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinst_jax.config import PromptConfig, RateConfig
from xinst_jax.pipeline import rules
from xinst_jax.pipeline.rules import echoes, english, loops, references, responses

_FINNISH = "Suomessa on yli sata tuhatta järveä, ja ne syntyivät jääkauden jälkeen."

_ENGLISH = (
    "What is HiFi?",
    "Tell me about Roger Federer",
    "Describe Wat Arun in Bangkok and its history.",
    "Explain why Puolukka and Mustikka grow in Lapland.",
    "Classify these cities: Košice, Bratislava, Žilina, Zagreb, Split.",
    "Write about Songkran.",
    "How is pongal celebrated?",
    "Give three uses of neem.",
    "Is Pluto a planet?",
    "what's an API?",
    "Compare Ankara and Istanbul as places to live.",
    "LIST FIVE SWAHILI PROVERBS",
)
_NOT_ENGLISH = (
    "Mikä on paras tapa oppia suomea?",
    "Jelaskan sejarah kota Jakarta secara singkat.",
    "Türkiye'nin başkenti hakkında kısa bir metin yaz.",
    "Hãy viết một đoạn văn ngắn về Hà Nội.",
    "Andika hadithi fupi kuhusu sungura na simba.",
    "จงอธิบายประวัติศาสตร์ของกรุงเทพมหานคร",
    "বাংলাদেশের রাজধানী সম্পর্কে লিখুন।",
    "हिन्दी में एक छोटी कहानी लिखिए।",
    "தமிழ்நாட்டின் வரலாற்றை விளக்குங்கள்.",
    "پاکستان کی تاریخ کے بارے میں لکھیں۔",
    "1234 5678 90",
    "🙂🙂🙂 !!!",
    "Ecrivez une lettre à votre ami.",
)

_MISSING = (
    "Summarize the following article.",
    "Summarise this article in two sentences.",
    "Translate the news into Finnish.",
    "Translate the following text to Thai.",
    "Translate this into Urdu.",
    "Translate the sentence into Finnish.",
    "What is the main idea of the passage?",
    "Write a summary of the text.",
    "Based on the passage, who founded the city?",
    "According to the article, what caused the flood?",
    "Given a reference text about tea, tell me where it grows.",
    "From the passage provided, extract the dates.",
    "Answer the following question.",
    "Answer the following question: ",
    "Classify each of the following as a fruit or a vegetable.",
    "Describe what you see in the attached image.",
    "What is happening in the picture above?",
    "Look at the table below and name the largest city.",
    "Read the following story and answer the questions.",
    "Continue this story.",
    "Analyze the poem.",
    "Rewrite the paragraph in simpler words.",
    "Find a link to the news article.",
    "Provide a link to the report.",
    "Share the video of the match.",
    "What does the text say about taxes?",
    "Find the mistakes in the sentence.",
    "As mentioned above, why is it important?",
    "Using given text, write some points about Finland.",
    'Summarize the article "The Rivers of Africa".',
    "Give the paragraph below a title.",
    "Make a list of things to do in the given city.",
)
_PRESENT = (
    "Describe the following holiday tradition: Diwali",
    "Translate the following sentence into French: 'I like tea.'",
    'Translate "good morning" into Thai.',
    "Translate the word house into Finnish.",
    "Which of the following is a bird? Eagle, cat, dog",
    "Classify the following animals as mammals or birds. Cow, eagle, parrot, dog",
    "Categorize the following sports into two groups; football, rugby, cricket",
    "Write a news article about the opening of a school.",
    "Write an article about how rice is grown.",
    "Write the text of a speech for a wedding.",
    'Write the text "Goat, Dog, and Cow".',
    "Summarize the story of the Ramayana.",
    "Analyze the poem 'The Road Not Taken' by Robert Frost.",
    "What happened in Finland in the following years after the war?",
    "Give tips for staying warm when the temperature is well below zero.",
    "What is the use of the article 'the' in English grammar?",
    "Explain Article 370 of the Indian constitution.",
    "What is the subject in the sentence 'Birds can fly'?",
    "Describe the picture of rural life that Indian novels paint.",
    "Give a picture of everyday life in a fishing village.",
    "Which of these is not a planet: all of the above, Mars, or the Moon?",
    "How do I attach a file to an email?",
    "Explain how to read a weather map.",
    "Write a letter to the editor about noise.",
    "Describe the documents needed for a passport.",
    "What is the story behind the name Helsinki?",
    "Write a message that could be printed on a birthday card.",
    "Summarize the following text: " + _FINNISH,
)


@pytest.mark.parametrize("text", _ENGLISH)
def test_english_is_recognised_though_short_and_full_of_names(text: str):
    assert english.is_english(text)


@pytest.mark.parametrize("text", _NOT_ENGLISH)
def test_other_languages_are_not_english(text: str):
    assert not english.is_english(text)


@pytest.mark.parametrize("text", _MISSING)
def test_reference_to_a_missing_text_is_found(text: str):
    assert references.missing_reference(text) is not None


@pytest.mark.parametrize("text", _PRESENT)
def test_what_is_given_or_named_is_not_missing(text: str):
    assert references.missing_reference(text) is None


def test_every_reference_is_named_once():
    names = [reference.name for reference in references.REFERENCES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "text",
    [
        "### Text:\nTee on juoma.",
        "Write about tea. ### English Instruction: Write about tea.",
        "Below is a text that describes a candidate output.",
        "Write about tea.</s>",
        "<|eot_id|>Write about tea.",
    ],
)
def test_marks_of_the_prompt_are_found(text: str):
    assert echoes.echoes_prompt(text)


@pytest.mark.parametrize(
    "text", ["Explain the # sign in Python.", "What is <b> in HTML?", "Is 3 < 4?"]
)
def test_signs_that_are_no_marks_pass(text: str):
    assert not echoes.echoes_prompt(text)


_OWN = PromptConfig(
    reverse="Guess which task has this text for an answer.\nText: {response}\nTask\n",
    answer="{instruction} {request}\n--> Reply:",
    rate="{instruction} {request}\n{response}\nHow good, one to three?",
)


@pytest.mark.parametrize(
    "text",
    [
        "Guess which task has this text for once.",
        "Write about tea.\nText: Tee on juoma.",
        "Write about tea.\nTask",
        "Write about tea. -->Reply: Tee",
        "Write about tea.\nHow good, one to three? 2",
        "### Text: Tee on juoma.",
        "<|eot_id|>Write about tea.",
    ],
)
def test_marks_are_those_of_the_prompts_that_a_run_has(text: str):
    broken = rules.check(text, "Se on vesi. Sitä juodaan.", RateConfig(), _OWN)
    assert "prompt_echo" in broken


@pytest.mark.parametrize(
    "text",
    [
        "Guess which task has this answer.",
        "Explain what Text: means in a form.",
        "Task lists are useful. Say why.",
        "Write a reply: is tea better than water?",
        "Below is a text that describes tea: tea is hot. Say it in a few words.",
    ],
)
def test_marks_of_other_prompts_and_words_of_them_pass(text: str):
    broken = rules.check(text, "Se on vesi. Sitä juodaan.", RateConfig(), _OWN)
    assert "prompt_echo" not in broken


@pytest.mark.parametrize(
    "text",
    [
        "Write about the the the the sea.",
        "Explain what is the name of the city of the name of the city of the name of "
        "the city of the name of the city.",
        "Writeeeeeeeeeeeeeee a text.",
        "list of things, list of things, list of things, list of things",
    ],
)
def test_loops_are_found(text: str):
    assert loops.repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "Explain the difference between the verbs to be, to do and to have.",
        "Write a very, very short story.",
        "Fill in the blank: the capital of Finland is ____________.",
        "Compare the climate of Finland with the climate of Kenya and the climate of "
        "India, and say in which of them a farmer may sow wheat in the month of May.",
    ],
)
def test_ordinary_repetition_passes(text: str):
    assert not loops.repeats(text)


def test_copied_share_counts_grams_of_the_instruction():
    assert loops.copied_share("järveä, ja ne syntyivät", _FINNISH) == 1.0
    assert loops.copied_share("JÄRVEÄ,  JA NE", _FINNISH) == 1.0
    assert loops.copied_share("Explain the lakes of Finland.", _FINNISH) == 0.0
    # 16 characters have nine 8-grams, of which only 'abcdefgh' is copied.
    assert loops.copied_share("abcdefghijklmnop", "xx abcdefgh yy") == pytest.approx(
        1 / 9
    )
    assert loops.copied_share("abc", "xabcx") == 1.0


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


def test_sixty_characters_of_the_response_are_a_quote():
    quote = _FINNISH[4:64]
    rest = "Explain what is meant by the words that follow, and why they matter here: "
    assert loops.quotes_response(rest + quote.upper(), _FINNISH)
    assert not loops.quotes_response(rest + quote[:-1], _FINNISH)
    assert not loops.quotes_response("short", "short")


@pytest.mark.parametrize("before", [4500, 100])
def test_a_quote_is_found_however_late_where_instructions_may_be_long(before: int):
    words = " ".join(f"word{n}" for n in range(before))[:before]
    text = f"Explain these words: {words} {_FINNISH[4:64]}"
    long = RateConfig(max_instruction_chars=6000)
    assert "quotes_response" in rules.check(text, _FINNISH, long)
    longer = f"Explain these words: {'x' * 6000} {_FINNISH[4:64]}"
    assert "quotes_response" not in rules.check(longer, _FINNISH, long)


def test_every_reason_is_explained_in_the_documentation():
    page = pathlib.Path(__file__).parents[2] / "docs/rating.md"
    explained = page.read_text("utf-8")
    for reason in rules.REASONS:
        assert f"`{reason}`" in explained


def test_each_reason_has_a_pair_that_breaks_it_alone():
    config = RateConfig(max_instruction_chars=100)
    broken = {
        "empty": " \n ",
        "too_short": "Why so?",
        "too_long": "Explain why cats purr, how dogs bark, what cows eat, where birds "
        "sleep, when bees dance and who was the first to keep them.",
        "prompt_echo": "Write about the lakes. ### Response:",
        "not_english": "Kerro jotain mukavaa talvesta.",
        "repetition": "Tell me what what what what is good.",
        "refers_to_missing_text": "Summarize the text in your own words.",
    }
    for reason, instruction in broken.items():
        assert rules.check(instruction, _FINNISH, config) == (reason,)
    copied = "Finland has more than a hundred thousand lakes."
    assert rules.check(copied, f"{copied} Yes.", config) == ("copies_response",)
    quoted = (
        f"Explain in your own words why it is true what they say of lakes: {_FINNISH}"
    )
    for instruction, response, reason in (
        (
            quoted + " Do so as if to a child of seven years who has seen but one of "
            "them.",
            _FINNISH,
            "quotes_response",
        ),
        (
            "Why does Finland have lakes?",
            f"{_FINNISH} Siksi niitä",
            "response_unfinished",
        ),
        ("Give me a list of lakes.", "Se on Saimaa.", "answer_type_mismatch"),
    ):
        assert rules.check(instruction, response, RateConfig()) == (reason,)
        broken[reason] = instruction
    assert set(broken) | {"copies_response"} == set(rules.REASONS)
    assert rules.check("Why does Finland have lakes?", _FINNISH, config) == ()


def test_reasons_come_in_their_fixed_order():
    found = rules.check("### ne ne ne ne ne", "Se on ### ne ne ne ne ne.", RateConfig())
    assert found == ("prompt_echo", "not_english", "repetition", "copies_response")
    assert list(found) == sorted(found, key=rules.REASONS.index)


def test_limits_are_inclusive_and_in_characters_of_nfc():
    text = unicodedata.normalize("NFD", "Why is Žižkov äöåäöå?")
    length = len(unicodedata.normalize("NFC", text))
    exact = RateConfig(min_instruction_chars=length, max_instruction_chars=length)
    assert rules.check(text, _FINNISH, exact) == ()
    assert "too_short" in rules.check(
        text, _FINNISH, RateConfig(min_instruction_chars=length + 1)
    )


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_rules_themselves(instruction: str, output: str):
    found = rules.check(instruction, output, RateConfig())
    assert set(found) <= set(rules.REASONS)
    assert bool(instruction.strip()) or found == ("empty",)


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 write",
        "a" * 200_000,
        "write about\x00 tea",
        "\u202ewrite about tea",
        "\ufffd",
    ],
    ids=["surrogate", "long", "nul", "override", "replacement"],
)
def test_hostile_text_is_checked_without_an_error(text: str):
    rules.check(text, text, RateConfig())
