"""Every number that decides whether a text, a line or a pair is kept: the one registry.

A family is a class, which a gin file binds by its name wherever it is used:
`PageConfig.item_chars = 30`. A threshold that is one with another setting stands beside
it, in the class of that (a length in `CorpusConfig`, a quota in `RateConfig`);
`registry.thresholds` lists these too.
"""

import dataclasses

from xinst_jax.config.fields import Thresholds, registered, threshold


@registered
@dataclasses.dataclass(frozen=True)
class TextConfig(Thresholds):
    """What is asked of every text, of the corpus and of the seed.

    Attributes:
      max_lost_share: share of a text's characters that may have been lost in an earlier
        decoding (U+FFFD).
      heading_chars: longest line that counts as a heading if it does not end a
        sentence, in characters; a text does not end with a heading.
      abbreviation_letters: longest word with a capital, in letters, whose full stop may
        be that of an abbreviation and then ends no sentence.
      unopened_chars: characters at the start of a text's first line; a bracket that is
        closed there and was not opened shows that the text goes on from something
        before it.
    """

    max_lost_share: float = threshold(0.002, most=1)
    heading_chars: int = threshold(80)
    abbreviation_letters: int = threshold(4)
    unopened_chars: int = threshold(100)


@registered
@dataclasses.dataclass(frozen=True)
class PageConfig(Thresholds):
    """What on a page is none of its text: menus, notices, captions, tables.

    Attributes:
      notice_chars: longest line that is cut out of a page by itself, in characters,
        such as a request for consent to cookies.
      link_chars: longest line that is cut out as a link such as 'Read more: ...', in
        characters.
      caption_chars: longest line that is cut out as a caption such as 'Photo: ...', in
        characters.
      cookie_gap_chars: most characters between 'uses' and 'cookies' in a line in which
        a site says that it uses cookies.
      line_items: fewest items between bars or dots that make a line a menu, and fewest
        items in a row that make a menu at the start or end of a page.
      end_line_items: fewest items between bars or dots that make one line at the very
        start or end of a page a menu.
      item_chars: longest short item of a menu, in characters, marks not counted.
      long_item_chars: longest line that may stand among the short items of a menu at
        the start or end of a page, in characters, marks not counted.
      marked_times: how many times its allowed length an item may have with its marks
        counted.
      min_short_share: share of the lines of a menu at the start or end of a page that
        must be short.
      max_telling_share: share of the lines of a menu at the start or end of a page that
        may say something: a fact, or a clause with a stop word.
      clause_words: fewest words of a line with a stop word that count as a clause.
      max_menu_share: share of a page's characters that a menu at its start or end may
        be; above this share the page is treated as a list or a menu, not as text with a
        menu.
      min_cookies: fewest mentions of cookies that make a text with a word of consent a
        cookie notice.
      cookie_chars: most characters of a cookie notice for each mention of cookies.
      min_items: fewest short items that make a whole text a menu.
      max_item_share: share of a text's characters that short items may be; above it a
        text with `min_items` of them is a menu.
      min_letter_share: share of a text's characters that letters and marks must be.
      max_repeated_share: share of a text's lines that may repeat another.
    """

    notice_chars: int = threshold(300)
    link_chars: int = threshold(120)
    caption_chars: int = threshold(150)
    cookie_gap_chars: int = threshold(40)
    line_items: int = threshold(4, least=2)
    end_line_items: int = threshold(3, least=2)
    item_chars: int = threshold(40, least=1)
    long_item_chars: int = threshold(60, least=1)
    marked_times: int = threshold(4, least=1)
    min_short_share: float = threshold(0.5, most=1)
    max_telling_share: float = threshold(0.3, most=1)
    clause_words: int = threshold(4, least=1)
    max_menu_share: float = threshold(0.7, most=1)
    min_cookies: int = threshold(2, least=1)
    cookie_chars: int = threshold(200, least=1)
    min_items: int = threshold(5, least=1)
    max_item_share: float = threshold(0.5, most=1)
    min_letter_share: float = threshold(0.6, most=1)
    max_repeated_share: float = threshold(0.3, most=1)


@registered
@dataclasses.dataclass(frozen=True)
class FineWeb2Config(Thresholds):
    """FineWeb-2's rules of quality and repetition, of a whole document.

    The first six are one number for all languages. The others are None, which is the
    value that FineWeb-2 publishes for the language (`pipeline/corpus/fineweb2.py`); of
    a language for which it has none a rule is asked where its number is set to another
    than the default, and that of stop words where it has some. Under the
    language's code as gin's scope a number is for that language alone:
    `fi/FineWeb2Config.max_top_2_gram = 0.3` ('_' for the '-' of a code).

    Attributes:
      max_repeated_line_chars: share of a document's characters that may be in lines
        that repeat an earlier one; that share itself is already too much.
      max_bullet_lines: share of lines that may begin with a bullet.
      max_ellipsis_lines: share of lines that may end in an ellipsis.
      max_symbols_per_word: most '#' or ellipses for each word.
      min_stop_words: fewest stop words of the language in a document.
      stop_words_from_chars: shortest document, in characters, in which stop words are
        looked for.
      min_word_chars: least mean length of a word (`min_avg_word_length`).
      max_word_chars: greatest mean length of a word (`max_avg_word_length`).
      min_alphabetic: share of words that must have a letter
        (`max_non_alpha_words_ratio`).
      min_line_ends: share of lines that end a sentence must be greater than this
        (`line_punct_thr`).
      max_line_breaks: most line breaks for each word (`new_line_ratio`).
      max_repeated_lines: share of lines that may repeat another (`dup_line_frac`).
      max_top_2_gram: share of characters that may be in the commonest word 2-gram
        (`top_n_grams`).
      max_top_3_gram: share of characters that may be in the commonest word 3-gram.
      max_top_4_gram: share of characters that may be in the commonest word 4-gram.
      max_repeated_5_grams: share of characters that may be in word 5-grams that came
        before (`dup_n_grams`).
      max_repeated_6_grams: share of characters that may be in word 6-grams that came
        before.
      max_repeated_7_grams: share of characters that may be in word 7-grams that came
        before.
      max_repeated_8_grams: share of characters that may be in word 8-grams that came
        before.
      max_repeated_9_grams: share of characters that may be in word 9-grams that came
        before.
      max_repeated_10_grams: share of characters that may be in word 10-grams that came
        before.
    """

    max_repeated_line_chars: float = threshold(0.1, most=1)
    max_bullet_lines: float = threshold(0.9, most=1)
    max_ellipsis_lines: float = threshold(0.3, most=1)
    max_symbols_per_word: float = threshold(0.1)
    min_stop_words: int = threshold(2)
    stop_words_from_chars: int = threshold(2000)
    min_word_chars: float | None = threshold(None)
    max_word_chars: float | None = threshold(None)
    min_alphabetic: float | None = threshold(None, most=1)
    min_line_ends: float | None = threshold(None, most=1)
    max_line_breaks: float | None = threshold(None)
    max_repeated_lines: float | None = threshold(None, most=1)
    max_top_2_gram: float | None = threshold(None, most=1)
    max_top_3_gram: float | None = threshold(None, most=1)
    max_top_4_gram: float | None = threshold(None, most=1)
    max_repeated_5_grams: float | None = threshold(None, most=1)
    max_repeated_6_grams: float | None = threshold(None, most=1)
    max_repeated_7_grams: float | None = threshold(None, most=1)
    max_repeated_8_grams: float | None = threshold(None, most=1)
    max_repeated_9_grams: float | None = threshold(None, most=1)
    max_repeated_10_grams: float | None = threshold(None, most=1)


@registered
@dataclasses.dataclass(frozen=True)
class LanguageCheckConfig(Thresholds):
    """Which language a text and its paragraphs are in, beside `min_lid_prob`.

    Attributes:
      min_script_share: share of the letters of a text, and of a paragraph, that must be
        of the language's scripts.
      pure_share: share of a document that CLD2 must give to the language, and none to
        another, for its paragraphs not to be looked at one by one.
      paragraph_letters: fewest letters of a paragraph whose language can be told; a
        shorter one stays.
    """

    min_script_share: float = threshold(0.5, most=1)
    pure_share: float = threshold(0.97, most=1)
    paragraph_letters: int = threshold(40)


@registered
@dataclasses.dataclass(frozen=True)
class SegmentConfig(Thresholds):
    """What a cut costs where a long document is cut, by where it is.

    It stands beside the squared relative distance of a segment's length from
    `CorpusConfig.target_chars`; the cuts are those that cost least in sum.

    Attributes:
      paragraph_cost: cost of a cut at the end of a paragraph.
      line_cost: cost of a cut at the end of a line.
      sentence_cost: cost of a cut at the end of a sentence inside a line.
      goes_on_cost: added cost of a cut before a part that could not be read by itself.
      unfinished_cost: added cost of a cut after a part that does not end a sentence.
      short_cost: added cost of a segment that is shorter than `CorpusConfig.min_chars`.
    """

    paragraph_cost: float = threshold(0.0)
    line_cost: float = threshold(0.05)
    sentence_cost: float = threshold(0.3)
    goes_on_cost: float = threshold(1.0)
    unfinished_cost: float = threshold(3.0)
    short_cost: float = threshold(5.0)


@registered
@dataclasses.dataclass(frozen=True)
class DuplicatesConfig(Thresholds):
    """How near-duplicates are looked for, and which of them stays.

    Attributes:
      shingle_chars: length, in characters, of the n-grams that are compared.
      bands: bands of a MinHash signature; pairs that agree in one are compared.
      band_rows: values of a band of a MinHash signature. More bands find more pairs,
        more values fewer.
      score_gram_words: length, in words, of the n-grams whose repetition lowers a
        text's score; of near-duplicates the text with the best score stays.
    """

    shingle_chars: int = threshold(5, least=1)
    bands: int = threshold(14, least=1, most=256)
    band_rows: int = threshold(8, least=1)
    score_gram_words: int = threshold(5, least=1)


@registered
@dataclasses.dataclass(frozen=True)
class DecontaminationConfig(Thresholds):
    """How much of an evaluation set's item a text or a pair may not have.

    Attributes:
      gram_words: length, in words, of an n-gram that a text may not share with an
        evaluation item.
      gram_chars: length, in letters, of an n-gram that a text may not share with an
        evaluation item, where words are not spaced.
      item_words: fewest words of an evaluation item, shorter than an n-gram, that is
        looked for as a whole.
      item_chars: fewest letters of an evaluation item, shorter than an n-gram, that is
        looked for as a whole where words are not spaced.
    """

    gram_words: int = threshold(8, least=1)
    gram_chars: int = threshold(25, least=1)
    item_words: int = threshold(5, least=1)
    item_chars: int = threshold(16, least=1)


@registered
@dataclasses.dataclass(frozen=True)
class RulesConfig(Thresholds):
    """The rules that a pair must pass whatever the rater thinks of it.

    Attributes:
      min_latin_share: share of an instruction's letters that must be Latin.
      min_english_share: share of an instruction's words that, if they are common
        English ones, make it English whatever CLD2 says.
      prompt_words: how many first words of a line of a prompt give the prompt away
        anywhere in an instruction; a line of fewer words does only where a line of the
        instruction begins with it.
      word_run: how many times in a row one word must come to be a loop.
      gram_words: length, in words, of the n-grams that are counted to find a loop.
      gram_times: how many times one n-gram must come to be a loop, if it makes up
        `gram_share` of the instruction.
      gram_share: share of an instruction's words that a repeated n-gram must make up to
        be a loop.
      character_run: how many times in a row one character must come to be a loop.
      copy_gram_chars: length of the character n-grams of `RateConfig.max_copied_share`.
      quote_chars: characters in a row of the response that an instruction may not have.
      given_source_chars: characters that an instruction must give of an article, or
        another long text that it speaks of.
      given_work_chars: characters that an instruction must give of a poem, of a letter,
        or of what it calls 'above' or 'attached'.
      given_piece_chars: characters that an instruction must give of a sentence, a word,
        a list, or 'the following'.
      last_item_chars: longest last line of a response that needs no mark at its end, in
        characters.
      tail_chars: length, in characters, of the end of a response whose letters say
        whether it is in Thai, in which sentences end in no mark.
      list_items: fewest items with a bullet or a number that make a response a list.
      list_things: fewest lines, or short things in a row, that make a response a list.
      list_thing_chars: longest of the short things that make a list, in characters.
      table_lines: fewest lines with columns that make a response a table.
      joined_things: how many of a number of things that is asked for may be missing
        from a response, since two may be joined.
    """

    min_latin_share: float = threshold(0.5, most=1)
    min_english_share: float = threshold(0.1, most=1)
    prompt_words: int = threshold(6, least=2)
    word_run: int = threshold(4, least=2)
    gram_words: int = threshold(4, least=1)
    gram_times: int = threshold(3, least=2)
    gram_share: float = threshold(0.25, most=1)
    character_run: int = threshold(10, least=2)
    copy_gram_chars: int = threshold(8, least=1)
    quote_chars: int = threshold(60, least=1)
    given_source_chars: int = threshold(60, least=1)
    given_work_chars: int = threshold(20, least=1)
    given_piece_chars: int = threshold(2, least=1)
    last_item_chars: int = threshold(60)
    tail_chars: int = threshold(60, least=1)
    list_items: int = threshold(2, least=1)
    list_things: int = threshold(3, least=2)
    list_thing_chars: int = threshold(40, least=1)
    table_lines: int = threshold(2, least=1)
    joined_things: int = threshold(1)
