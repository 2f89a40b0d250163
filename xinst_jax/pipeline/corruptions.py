"""Ways in which a good pair is spoilt, each with a name, to teach the rater by.

A corruption is a function of a pair, a pool of others and a PRNG keyed by the pair; it
returns the spoilt (instruction, response), or None where it cannot be carried out. What
it adds is brought to the length of what it replaces, so that length tells nothing.
"""

import dataclasses
import functools
import hashlib
import itertools
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import regex

from xinst_jax.pipeline.rules import ENGLISH_WORDS

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_PLAIN = ENGLISH_WORDS | {"a", "an", "at", "by", "i", "if", "in", "it", "on", "to"}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A pair taken for good.

    Attributes:
      id: the pair's id.
      lang: language code of the response.
      instruction: in English.
      output: the response.
      split: 'train' or 'held_out'.
    """

    id: str
    lang: str
    instruction: str
    output: str
    split: str


@dataclasses.dataclass(frozen=True)
class Nearness:
    """What a cosine similarity of two instructions means.

    Attributes:
      unrelated: below it, one does not answer for the other.
      related: from it on, they are about neighbouring things.
      same: from it on, a response to one may be a response to the other.
    """

    unrelated: float
    related: float
    same: float


NGRAM_NEARNESS = Nearness(unrelated=0.12, related=0.2, same=0.4)
"""For `ngram_features`. Among the sample's 140 seed instructions three quarters of the
pairs lie below 0.12, and the same question asked twice mostly above 0.4."""

ENCODER_NEARNESS = Nearness(unrelated=0.2, related=0.35, same=0.7)
"""For embeddings by all-MiniLM-L6-v2. Among the same instructions three quarters of the
pairs lie below 0.17, and the same question asked twice above 0.7."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """A PRNG that depends on its arguments alone."""
    text = "\x1f".join((str(seed), *names))
    key = hashlib.sha256(text.encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))


def ngram_features(texts: Sequence[str], width: int = 512, size: int = 4) -> np.ndarray:
    """Hashed character n-grams, weighted by rarity: embeddings for want of an encoder.

    Words that many instructions share (*what*, *explain*, *list*) are left out.

    Args:
      texts: English instructions.
      width: columns that n-grams are hashed into.
      size: characters of an n-gram.

    Returns:
      Array of shape (texts, width), float32, rows of unit length.
    """
    grams_te = np.zeros((len(texts), width), np.float32)
    for row, text in enumerate(texts):
        words = [word for word in _WORD.findall(text.casefold()) if word not in _PLAIN]
        line = f" {' '.join(words)} "
        grams = {line[i : i + size] for i in range(max(1, len(line) - size + 1))}
        grams_te[row, [zlib.crc32(gram.encode()) % width for gram in grams]] = 1
    rarity_e = np.log((2 + len(texts)) / (1 + grams_te.sum(axis=0)))
    grams_te *= rarity_e
    return grams_te / np.maximum(np.linalg.norm(grams_te, axis=1, keepdims=True), 1e-9)


class Pool:
    """The pairs of one split, from which a pair's corruptions draw."""

    _DRAWN = 64
    _BLOCK = 4096
    _NEAREST = 4

    def __init__(
        self,
        pairs: Sequence[Pair],
        features_pe: np.ndarray,
        nearness: Nearness,
        boilerplate: Mapping[str, Sequence[str]],
        held_out: bool,
    ) -> None:
        """Args:
        pairs: the split's pairs.
        features_pe: float32, unit rows: the instructions' embeddings.
        nearness: what the embeddings' cosines mean.
        boilerplate: texts of menus and notices by language; may be empty.
        held_out: whether the part of each registry is used that training never sees.
        """
        self.pairs = pairs
        self.features_pe = features_pe
        self.nearness = nearness
        self.held_out = held_out
        self._boilerplate = boilerplate
        self._lines: dict[str, list[str]] = {}
        languages = np.array([pair.lang for pair in pairs])
        self._members = {
            str(lang): np.flatnonzero(languages == lang)
            for lang in np.unique(languages)
        }
        self._others = {
            lang: np.flatnonzero(languages != lang) for lang in self._members
        }

    def unrelated(
        self, index: int, rng: np.random.Generator, same_language: bool
    ) -> list[int]:
        """Numbers of randomly drawn pairs whose instructions ask for something else."""
        members = self._within(index, same_language)
        if not len(members):
            return []
        places = rng.integers(len(members), size=self._DRAWN)
        chosen = members[list(dict.fromkeys(places.tolist()))]
        cosines = self.features_pe[chosen] @ self.features_pe[index]
        near = (cosines >= self.nearness.unrelated) | (chosen == index)
        return [int(other) for other in chosen[~near]]

    def neighbours(self, index: int, same_language: bool) -> list[int]:
        """Numbers of the few pairs whose instructions are most alike, yet not the same.

        In a large pool they are looked for among the few thousand that lie around the
        pair in the order of the pool.
        """
        members = self._within(index, same_language)
        start = int(np.searchsorted(members, index)) - self._BLOCK // 2
        block = members[max(0, start) : max(0, start) + self._BLOCK]
        cosines = self._of(block) @ self.features_pe[index]
        cosines[(block == index) | (cosines >= self.nearness.same)] = -1
        nearest = np.argsort(-cosines, kind="stable")[: self._NEAREST]
        return [int(block[n]) for n in nearest if cosines[n] >= self.nearness.related]

    def lines(self, lang: str) -> list[str]:
        """Lines of menus and notices found in this split's part of the boilerplate."""
        if lang not in self._lines:
            texts = part(tuple(self._boilerplate.get(lang, ())), self.held_out)
            split = (line.strip() for text in texts for line in text.splitlines())
            self._lines[lang] = [line for line in split if line]
        return self._lines[lang]

    def _of(self, block: np.ndarray) -> np.ndarray:
        """The features of ascending pair numbers, without a copy if they are a run."""
        if len(block) and block[-1] - block[0] + 1 == len(block):
            return self.features_pe[block[0] : block[-1] + 1]
        return self.features_pe[block]

    def _within(self, index: int, same_language: bool) -> np.ndarray:
        groups = self._members if same_language else self._others
        return groups[self.pairs[index].lang]


@functools.cache
def part(entries: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """The entries of a registry for one split: one in four is kept from training."""
    return tuple(
        entry for entry in entries if (zlib.crc32(entry.encode()) % 4 == 0) == held_out
    )


# Bad: the response does not answer the instruction ----------------------------------


def random_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The instruction of another pair, on something else; of the language if it can."""
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, True) or pool.unrelated(index, rng, False)
    texts = [pool.pairs[other].instruction for other in others[:4]]
    return (_nearest_length(texts, pair.instruction), pair.output) if texts else None


def wrong_language(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A response in another of the run's languages.

    It is the response to something else, of about the same length. With one language
    in the run, sentences in English, Spanish, French or Russian are strung together.
    """
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, False)[:8]
    if others:
        texts = [pool.pairs[other].output for other in others]
        return pair.instruction, _nearest_length(texts, pair.output)
    groups = list(FOREIGN_SENTENCES.values())
    sentences = part(groups[int(rng.integers(len(groups)))], pool.held_out)
    shuffled = [sentences[place] for place in rng.permutation(len(sentences))]
    text = _joined(itertools.cycle(shuffled), " ", len(pair.output))
    return pair.instruction, text


def boilerplate_response(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A menu or a notice: lines that were rejected from the corpus, if the pool has
    any, or else scraps of the response's own words in short lines."""
    pair = pool.pairs[index]
    lines = pool.lines(pair.lang) or _menu(pair.output, rng)
    if not lines:
        return None
    start = int(rng.integers(len(lines)))
    following = (lines[(start + step) % len(lines)] for step in itertools.count())
    return pair.instruction, _joined(following, "\n", len(pair.output))


def instruction_echo(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """English in place of the response: the instruction again, then other ones."""
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, True) + pool.unrelated(index, rng, False)
    rest = [pool.pairs[other].instruction for other in others] or [pair.instruction]
    pieces = itertools.chain([pair.instruction], itertools.cycle(rest))
    return pair.instruction, _joined(pieces, " ", len(pair.output))


# Fair: a response of some use, or an instruction that asks for something near --------


def neighbour_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """One of the most similar instructions, of a pair that still asks another thing."""
    pair = pool.pairs[index]
    others = pool.neighbours(index, True) or pool.neighbours(index, False)
    texts = [pool.pairs[other].instruction for other in others]
    return (_nearest_length(texts, pair.instruction), pair.output) if texts else None


def cut_response(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The response up to somewhere in its middle, between two words."""
    pair = pool.pairs[index]
    if len(pair.output) < _SHORTEST_CUT:
        return None
    place = int(len(pair.output) * rng.uniform(0.4, 0.8))
    cut = _cut_at(pair.output, place)
    return (pair.instruction, cut) if cut else None


def generic_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction that any text would answer: "Write a text."."""
    pair = pool.pairs[index]
    entries = part(GENERIC_INSTRUCTIONS, pool.held_out)
    return _composed(entries, len(pair.instruction), pool.held_out, rng), pair.output


def missing_input(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction about a text that it does not give: "Summarize this article."."""
    pair = pool.pairs[index]
    entries = part(MISSING_INPUT_INSTRUCTIONS, pool.held_out)
    return _composed(entries, len(pair.instruction), pool.held_out, rng), pair.output


Corruption = Callable[[int, Pool, np.random.Generator], tuple[str, str] | None]

BAD: dict[str, Corruption] = {
    "random_instruction": random_instruction,
    "wrong_language": wrong_language,
    "boilerplate_response": boilerplate_response,
    "instruction_echo": instruction_echo,
}
FAIR: dict[str, Corruption] = {
    "neighbour_instruction": neighbour_instruction,
    "cut_response": cut_response,
    "generic_instruction": generic_instruction,
    "missing_input": missing_input,
}


# Lengths ----------------------------------------------------------------------------

_SHORTEST_CUT = 60


def _nearest_length(texts: Sequence[str], like: str) -> str:
    return min(texts, key=lambda text: abs(len(text) - len(like)))


def _joined(pieces: Iterable[str], joint: str, chars: int) -> str:
    """Pieces joined as long as each brings the length nearer to `chars` characters.

    _joined(["one", "two", "three"], " ", 8)   # 'one two'
    """
    chosen: list[str] = []
    length = -len(joint)
    for piece in pieces:
        longer = length + len(joint) + len(piece)
        if chosen and abs(longer - chars) >= abs(length - chars):
            break
        chosen.append(piece)
        length = longer
    return joint.join(chosen)


def _composed(
    entries: Sequence[str], chars: int, held_out: bool, rng: np.random.Generator
) -> str:
    """One of the entries, with wishes of style added up to about `chars` characters."""
    drawn = [entries[place] for place in rng.permutation(len(entries))[:4]]
    text = min(drawn, key=lambda entry: abs(len(entry) - chars))
    wishes = part(STYLE_WISHES, held_out)
    shuffled = (wishes[place] for place in rng.permutation(len(wishes)))
    return _joined(itertools.chain([text], shuffled), " ", chars)


def _cut_at(text: str, place: int) -> str:
    """The text up to the last space before `place`, or to a whole character there.

    _cut_at("Moi vaan, sanoi hän.", 12)    # 'Moi vaan'
    """
    space = max(text.rfind(mark, 0, place) for mark in (" ", "\n"))
    if space < place - 40:
        while place and unicodedata.category(text[place])[0] in "MC":
            place -= 1
        space = place
    return regex.sub(r"[\p{P}\p{Z}\s]+$", "", text[:space])


def _menu(text: str, rng: np.random.Generator) -> list[str]:
    """Short lines of a few words of the text; long unspaced words are broken up."""
    words = [
        piece
        for word in _WORD.findall(text)
        for piece in regex.findall(r"\X{1,12}", word)
        if len(word) > 2
    ]
    lines = []
    for _ in range(min(len(words), 40)):
        count = int(rng.integers(1, 4))
        chosen = [words[int(place)] for place in rng.integers(len(words), size=count)]
        lines.append((" | " if rng.random() < 0.3 else " ").join(chosen).capitalize())
    return lines


# Registries -------------------------------------------------------------------------


def _product(*parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(" ".join(words) for words in itertools.product(*parts))


GENERIC_INSTRUCTIONS = (
    *_product(
        ("Write", "Compose", "Produce", "Create", "Please write", "Prepare"),
        (
            "a text.",
            "a short text.",
            "something interesting.",
            "a few sentences.",
            "one or two paragraphs.",
            "a piece of writing.",
            "an article.",
            "some content for a website.",
            "an informative text for the general reader.",
            "a passage about a subject of your choice.",
            "a text on any topic that comes to mind.",
            "something that people would like to read.",
        ),
    ),
    *_product(
        ("Tell me", "Share", "Give me"),
        (
            "something.",
            "some information.",
            "anything you know.",
            "a few facts about a topic.",
            "something that is worth knowing.",
        ),
    ),
    "Answer the question.",
    "Respond in a helpful way.",
    "Say whatever you want to say.",
    "Provide a suitable response.",
    "Explain the topic.",
    "Describe it in detail.",
    "Discuss a subject from several points of view.",
    "What can you tell me?",
    "What do you think about this topic?",
    "What should people know?",
)
"""Instructions that say nothing of what is wanted."""

MISSING_INPUT_INSTRUCTIONS = _product(
    (
        "Summarize",
        "Translate",
        "Paraphrase",
        "Rewrite",
        "Proofread",
        "Analyze",
        "Find the main idea of",
        "List the key points of",
        "Answer the questions about",
        "Write a short summary of",
        "Suggest a title for",
        "Correct the mistakes in",
    ),
    (
        "the following article.",
        "the text above.",
        "this passage.",
        "the given paragraph.",
        "the attached document.",
        "the following text in your own words.",
        "the news article below.",
        "the passage provided to you.",
        "the text in the image above.",
    ),
)
"""Instructions about a text that is not there; `rules` drops such candidates."""

STYLE_WISHES = (
    "Use full sentences.",
    "Write clearly and simply.",
    "Make it easy to read.",
    "Keep to the point.",
    "Use a friendly tone.",
    "Use a neutral tone.",
    "Mention a few details.",
    "Make sure that the grammar is correct.",
    "Write for readers who are new to the subject.",
    "Do not use difficult words where simple ones will do.",
    "Take care that the sentences follow from one another.",
    "It should be neither too long nor too short.",
    "Make it interesting from the beginning to the end.",
    "Choose an order that helps the reader to understand.",
    "Give reasons where they are needed.",
    "Write it as you would tell it to a friend.",
    "Think of what the reader may want to know next.",
    "Leave out what is of no importance.",
    "Use examples.",
    "Begin with what matters most.",
)
"""Wishes that change nothing about what is asked for."""

FOREIGN_SENTENCES: dict[str, tuple[str, ...]] = {
    "English": (
        "The harbour was quiet when the first boats came back with their catch.",
        "Bread keeps longer if it is wrapped in a cloth and stored in a cool place.",
        "Most of the old bridges in the valley were built by hand.",
        "A good map shows not only the roads but also the shape of the land.",
        "The committee will meet again in spring to discuss the new timetable.",
        "Bees find their way home by the position of the sun.",
        "Paint the window frames on a dry day and let them stand open.",
        "The river carries more water in May than in any other month.",
        "She kept the letters in a wooden box under the stairs.",
        "Tickets can be bought at the station or from the driver.",
        "An owl hears a mouse under the snow from far away.",
        "The museum is closed on Mondays and on public holidays.",
    ),
    "Spanish": (
        "El puerto estaba en silencio cuando volvieron los primeros barcos.",
        "El pan dura más si se guarda en un lugar fresco y seco.",
        "La mayoría de los puentes antiguos se construyeron a mano.",
        "El comité se reunirá de nuevo en primavera para hablar del horario.",
        "Las abejas encuentran el camino a casa por la posición del sol.",
        "El río lleva más agua en mayo que en cualquier otro mes.",
        "Guardaba las cartas en una caja de madera debajo de la escalera.",
        "El museo cierra los lunes y los días festivos.",
        "Los billetes se compran en la estación o al conductor.",
        "Conviene pintar las ventanas en un día seco.",
    ),
    "French": (
        "Le port était calme quand les premiers bateaux sont rentrés.",
        "Le pain se garde mieux dans un endroit frais et sec.",
        "La plupart des vieux ponts ont été construits à la main.",
        "Le comité se réunira de nouveau au printemps pour parler des horaires.",
        "Les abeilles retrouvent leur chemin grâce à la position du soleil.",
        "La rivière porte plus d'eau en mai que les autres mois.",
        "Elle gardait les lettres dans une boîte en bois sous l'escalier.",
        "Le musée est fermé le lundi et les jours fériés.",
        "Les billets s'achètent à la gare ou auprès du conducteur.",
        "Mieux vaut peindre les fenêtres par temps sec.",
    ),
    "Russian": (
        "В порту было тихо, когда вернулись первые лодки.",
        "Хлеб хранится дольше в прохладном и сухом месте.",
        "Большинство старых мостов в долине построено вручную.",
        "Комитет снова соберётся весной, чтобы обсудить новое расписание.",
        "Пчёлы находят дорогу домой по положению солнца.",
        "В мае в реке больше воды, чем в любом другом месяце.",
        "Она хранила письма в деревянной коробке под лестницей.",
        "Музей закрыт по понедельникам и в праздничные дни.",
        "Билеты продаются на станции и у водителя.",
        "Красить окна лучше в сухую погоду.",
    ),
}
"""Sentences in languages that no run asks for, by language."""
