"""Texts that corruptions put in place of a pair's own.

Each registry is cut in two by `pair_pool.part`, so that a rater is measured on entries
that it has not been trained on.
"""

import itertools
from collections.abc import Sequence


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


OVER_SPECIFIC_DEMANDS = (
    *_product(
        (
            "compared with",
            "and how it differs from",
            "and what it has to do with",
            "seen through the eyes of",
        ),
        (
            "beekeepers in Peru",
            "Roman tax collectors",
            "the sailors of old Genoa",
            "lighthouse keepers",
            "the first astronauts",
            "the Icelandic sagas",
            "eighteenth-century whalers",
            "the pupils of Rembrandt",
            "the builders of Stonehenge",
            "Danish railway workers",
        ),
    ),
    "in the form of a sonnet",
    "as a dialogue between two whales",
    "in the words of a Victorian doctor",
    "without using the letter e",
    "quoting Plato and Confucius",
    "with prices in Swiss francs",
    "citing the laws of Belgium",
    "in rhyming couplets",
    "with the Latin name of everything",
    "set on the planet Mars",
    "with all distances in leagues",
    "as it was before the year 1500",
    "as a letter to Mozart",
    "with a recipe for plum jam",
    "as a speech to the United Nations",
    "with chess moves for each step",
    "in rhyme",
    "on Mars",
    "in hexameters",
    "as a limerick",
    "without verbs",
    "by Shakespeare",
    "in Viking times",
    "for deep-sea divers",
)
"""Demands that hardly any response meets, as the end of an instruction."""


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
    "Be brief.",
    "Be accurate.",
    "Use plain words.",
    "Stay on the subject.",
    "Avoid repeating yourself.",
    "Keep the sentences short.",
    "Write in complete paragraphs.",
    "Assume no previous knowledge.",
    "Make every sentence count.",
    "Say only what you are sure of.",
    "Check the spelling before you finish.",
    "Write so that a child could follow.",
    "Explain any term that may be unfamiliar.",
    "Divide the text into paragraphs where it helps.",
    "The reader should not have to look anything up.",
    "Try to sound natural rather than formal.",
    "Finish with a sentence that sums it up.",
    "Do not leave out anything that is essential.",
    "Let the tone be calm and matter-of-fact throughout.",
    "Choose the words with care and keep the style even.",
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
