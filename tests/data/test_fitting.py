from xinst_jax.data import fitting, prompts


def _encode(text: str) -> list[int]:
    """One token a character: the plainest tokenizer there is."""
    return [ord(letter) for letter in text]


def test_a_prompt_that_fits_is_left_alone():
    made = fitting.fit("short", prompts.reverse, _encode, limit=1000)
    assert made is not None and not made.cut
    assert made.ids == _encode(prompts.reverse("short"))


def test_only_the_end_of_the_text_is_cut_and_the_limit_is_used():
    text = "abcdefghij" * 50
    limit = len(prompts.reverse("")) + 100
    made = fitting.fit(text, prompts.reverse, _encode, limit)
    assert made is not None and made.cut
    assert made.ids == _encode(prompts.reverse(text[:100]))


def test_a_frame_that_does_not_fit_is_no_prompt():
    assert fitting.fit("text", prompts.reverse, _encode, limit=10) is None
