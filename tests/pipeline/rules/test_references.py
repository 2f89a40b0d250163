"""Instructions about what is not given are found, and no others."""

import pytest

from xinst_jax.pipeline.rules import references

_FINNISH = "Suomessa on yli sata tuhatta järveä, ja ne syntyivät jääkauden jälkeen."


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


@pytest.mark.parametrize("text", _MISSING)
def test_reference_to_a_missing_text_is_found(text: str):
    assert references.missing_reference(text) is not None


@pytest.mark.parametrize("text", _PRESENT)
def test_what_is_given_or_named_is_not_missing(text: str):
    assert references.missing_reference(text) is None


def test_every_reference_is_named_once():
    names = [reference.name for reference in references.REFERENCES]
    assert len(set(names)) == len(names)
