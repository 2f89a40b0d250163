"""Instructions in English are told from those in other languages."""

import pytest

from xinst_jax.pipeline.rules import english

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


@pytest.mark.parametrize("text", _ENGLISH)
def test_english_is_recognised_though_short_and_full_of_names(text: str):
    assert english.is_english(text)


@pytest.mark.parametrize("text", _NOT_ENGLISH)
def test_other_languages_are_not_english(text: str):
    assert not english.is_english(text)
