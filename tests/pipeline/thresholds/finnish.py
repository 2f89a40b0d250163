"""Finnish sentences, notices and lists that thresholds are tried on."""

LINES = (
    "Lumi satoi koko yön.",
    "Aamulla pihalla oli paksu hanki.",
    "Lapset juoksivat ulos ja rakensivat suuren lumiukon.",
    "Koira seurasi heitä iloisesti haukkuen.",
    "Illalla kaikki joivat kuumaa kaakaota takan ääressä.",
)
TEXT = " ".join(LINES)
OTHER = (
    "Aurinko nousi hitaasti metsän takaa. Karhu heräsi pesästään nälkäisenä. Marjat "
    "kypsyivät mättäillä."
)
LONG = (
    "Suuri punainen talo seisoo mäellä järven rannalla koivujen takana hiljaa. Vanha "
    "mies katsoi sitä kaukaa. "
)
MENU = "Etusivu | Uutiset | Urheilu | Sää"
LONG_ITEM = "Sää ja tiet ja muut ajankohtaiset asiat kaupungissa"
ITEMS = f"Etusivu\nUutiset\n{LONG_ITEM}\nUrheilu\nKulttuuri"
# Thirty letters in each item, with a mark on half of them that no letter composes with.
MARKED = " | ".join(["Sq\u0331" * 15] * 4)
RESULTS = "Etusivu\nUutiset\nUrheilu 2024\nKulttuuri\nPalvelut"
PAIRS = "Etusivu\nUutiset ja sää\nUrheilu ja kulttuuri\nPalvelut\nKoti ja puutarha"
MIDDLE = f"{OTHER}\n{MENU}\n{TEXT}"
NOTICE = "Käytämme evästeitä. Hyväksy kaikki tai muuta asetuksia."
COOKIES = (
    "Tämä sivusto tallentaa laitteellesi evästeitä, jotta se toimisi, ja hyväksyt ne, "
    "kun jatkat lukemista tällä sivulla. Jokainen eväste säilyy laitteellasi yhden "
    "vuoden ajan, ellet poista sitä aiemmin selaimesi valikosta. Kolmannen osapuolen "
    "evästeet kertovat mainostajille, mitä olet lukenut ja kuinka kauan siihen meni."
)
SHOPPING = (
    "Ostoslista on tässä:\n- Maitoa ja leipää\n- Voita ja juustoa\n- Omenia ja munia\n"
    "- Kahvia ja teetä\n- Suolaa ja sokeria\nSe on kaikki tältä päivältä."
)
NUMBERS = f"Tulokset olivat {'12 34 56 78 90 ' * 4}ja 12 34 56 78."
THAI = "ประเทศไทยมีภูเขาและแม่น้ำสวยงามมากมายหลายแห่งให้ผู้คนไปเที่ยวชมทุกปี"
THAI_OTHER = "แมวของฉันชอบนอนบนเก้าอี้ไม้ตัวเก่าในห้องครัวทุกเช้าและทุกเย็น"
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund am Fluss."
BOTH = f"{TEXT} {OTHER}"
CHANGED = BOTH.replace("iloisesti", "vihaisesti")
ABBREVIATED = "Tapasimme Prof. Virtasen kadulla eilen illalla myöhään."
SHORT_END = f"{LINES[2]}\n\n{LINES[4]}\n{' '.join(LINES[:3])} Näin kävi.\n\n{LINES[2]}"
PARTLY = "aurinko nousi hitaasti metsän takaa karhu heräsi pesästään ja lähti ulos"
