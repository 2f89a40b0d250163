"""Words that notices, credits and links are put together from, in each language.

They are patterns of words in lower case. Where words are spaced a wording is made of
whole ones; `page_lines` says in which way.
"""

OWN: dict[str, tuple[str, ...]] = {
    "en": (
        "this (?:web)?site",
        "this page",
        "our (?:web)?site",
        "we use",
        "we and our",
    ),
    "fi": (
        *("tä[mls]\\p{L}+ (?:verkko)?sivu", "sivu(?:sto)?(?:lla)?mme", "tämä palvelu"),
        *("palvelu(?:ssa)?mme", "käytämme", "tallennamme", "hyödynnämme"),
    ),
    "id": ("(?:situs|web|laman|website|halaman|aplikasi) (?:ini|kami)", "kami"),
    "th": ("(?:เว็?บ|ไซ[ตด]์|หน้า|แอป|บริการ)\\p{Thai}{0,4}นี้", "เรา"),
    "tr": (
        "bu (?:web |internet )?(?:site|sayfa|platform|uygulama)",
        *("(?:site|sayfa)m[iı]z", "hizmet(?:ler)?imiz", "uygulamamız"),
    ),
    "vi": ("(?:trang|trang web|website|nền tảng|ứng dụng) này", "chúng tôi"),
    "bn": ("(?:এই|এ) (?:ওয়েব ?)?(?:সাইট|পেজ|পাতা)", "আমাদের", "আমরা"),
    "hi": ("(?:यह|इस|ये) (?:वेब ?)?(?:साइट|पेज)", "हमारी", "हमारे", "हमारा", "हम "),
    "sw": ("tovuti (?:hii|yetu)", "ukurasa huu", "tu(?:na|li)?tumia", "tunahifadhi"),
    "ta": ("இந்த(?:த்)? [\\p{L}\\p{M}]*தள", "இத்தள", "எங்கள்", "நாங்கள்", "\\p{M}கிறோம்"),
    "ur": ("(?:یہ|اس|ہذا) (?:ویب ?)?سائٹ", "ہماری", "ہمارے", "ہمارا", "ہم "),
}
"""How a site speaks of itself."""

USE: dict[str, tuple[str, ...]] = {
    "en": ("use", "using", "store", "set"),
    "fi": ("käyt", "tallen", "hyödyn"),
    "id": ("gunakan", "pakai", "memakai", "memanfaatkan", "simpan"),
    "th": ("ใช้", "จัดเก็บ", "บันทึก"),
    "tr": ("kullan", "yararlan", "sakl"),
    "vi": ("dùng", "sử dụng", "lưu"),
    "bn": ("ব্যবহার", "সংরক্ষণ"),
    "hi": ("उपयोग", "इस्तेमाल", "प्रयोग"),
    "sw": ("tumi", "hifadhi", "weka"),
    "ta": ("பயன்படுத்", "உபயோகி", "சேமி"),
    "ur": ("استعمال", "محفوظ"),
}
"""What it does with cookies."""

VERB_LAST = frozenset({"tr", "bn", "hi", "ta", "ur"})
"""Languages in which the verb follows what is used."""

PICTURE: dict[str, tuple[str, ...]] = {
    "en": (
        *("photos?", "photograph(?:s|er|ers|y)?", "images?", "pictures?", "graphics?"),
        *("illustrations?", "illustrator", "screenshot", "infographic", "cartoon"),
    ),
    "fi": (
        "(?:valo|arkisto|kuvitus|lehdistö|ilma|kansi)?kuva(?:t|n|ssa|aja|ajat)?",
        *("kuvien", "kuvitus", "kuvittaja", "piirros", "grafiikka"),
    ),
    "id": ("foto(?:grafer)?", "gambar", "ilustra(?:si|tor)", "infografis", "grafis"),
    "th": ("ภาพ", "รูป"),
    "tr": (
        *(
            "foto",
            "fotoğraf(?!çılı)\\p{L}{0,4}",
            "görsel(?:ler|i)?",
            "res(?:im|imler|mi)",
        ),
        *("çizim", "illüstrasyon", "infografik"),
    ),
    "vi": ("ảnh", "hình", "hình ảnh", "tranh", "đồ họa", "infographic"),
    "bn": (
        *("ছবি(?:টি|র|গুলো)?", "(?:আলোক|রেখা|স্থির)?চিত্র(?:ী|কর|গ্রাহক)?"),
        *("ফটো(?:গ্রাফার|গ্রাফি)?", "অলংকরণ", "ইলাস্ট্রেশন"),
    ),
    "hi": (
        *("फ़?ोटो(?:ग्राफ़?र)?", "तस्वीर", "तस्वीरें", "(?:छाया|रेखा)?चित्र(?:कार)?"),
        *("छायाकार", "छायांकन", "इमेज", "ग्राफ़?िक", "रेखांकन"),
    ),
    "sw": ("picha", "mpigapicha", "mchoro", "michoro", "kielelezo"),
    "ta": (
        *(
            "படம்",
            "படங்கள்",
            "(?:புகை|நிழற்|ஒளி)ப்?பட[\\p{L}\\p{M}]{0,6}",
            "ஓவிய[\\p{L}\\p{M}]*",
        ),
        "சித்திரம்",
    ),
    "ur": ("تصویر", "تصاویر", "فوٹو(?:گراف\\p{L}*)?", "عکس", "عکاسی?", "خاکہ"),
}
"""What a credit is for, or who made it: one such word is in every credit."""

CREDIT: dict[str, tuple[str, ...]] = {
    "en": (
        *("by", "of", "from", "the", "and", "text", "courtesy", "credits?", "source"),
        *("file", "stock", "archives?", "copyright", "cover", "featured", "caption"),
    ),
    "fi": (
        *(
            "ja",
            "lähde",
            "lähteet",
            "teksti",
            "tekijä",
            "ottaja",
            "oikeudet",
            "arkisto",
        ),
        *("haltija", "copyright", "luvalla", "käsittely"),
    ),
    "id": (
        *(
            "sumber",
            "kredit",
            "oleh",
            "dari",
            "dok",
            "dokumentasi",
            "arsip",
            "istimewa",
        ),
        *(
            "juru",
            "pewarta",
            "penulis",
            "dan",
            "teks",
            "milik",
            "karya",
            "hak",
            "cipta",
        ),
    ),
    "th": (
        *("ที่มา", "แหล่ง", "เครดิต", "ขอบคุณ", "เจ้าของ", "ผู้", "ช่าง", "คำบรรยาย"),
        *("แฟ้ม", "คลัง", "ลิขสิทธิ์", "ถ่าย", "วาด", "ประกอบ", "จาก", "โดย", "ข่าว"),
        *("เรื่อง", "และ", "ใต้", "ของ", "ข้อมูล"),
    ),
    "tr": (
        *("kaynak", "kaynağı", "arşiv", "arşivi", "temsili", "çeken", "telif", "hakkı"),
        *("ve", "yazı", "haber", "izniyle", "sahibi", "kredisi"),
    ),
    "vi": (
        *("nguồn", "tác giả", "minh họa", "minh hoạ", "tư liệu", "chụp", "người", "do"),
        *("bản quyền", "bởi", "của", "bìa", "bài", "và", "thực hiện", "sưu tầm"),
    ),
    "bn": (
        *("সূত্র", "সৌজন্যে?", "ফাইল", "সংগৃহীত", "সংগ্রহ", "তোলা", "তুলেছেন", "প্রতীকী"),
        *("কৃতজ্ঞতা", "উৎস", "এবং", "ও", "লেখা", "শিল্পী"),
    ),
    "hi": (
        *("साभार", "स्रोत", "सौजन्य", "से", "क्रेडिट", "फ़?ाइल", "प्रतीकात्मक", "सांकेतिक"),
        *("संग्रह", "द्वारा", "और", "एवं", "का", "के", "की", "लेख", "सोशल", "मीडिया"),
    ),
    "sw": (
        *("na", "ya", "za", "wa", "kwa", "cha", "hisani", "chanzo", "mpiga", "maktaba"),
        *("kutoka", "kumbukumbu", "haki", "maelezo", "mwandishi", "mchoraji"),
    ),
    "ta": (
        *("உதவி", "நன்றி", "ஆதாரம்", "மூலம்", "கலைஞர்", "எடுத்தவர்", "வரைந்தவர்", "உரிமை"),
        *("கோப்புப்?", "மாதிரி", "மாதிரிப்", "மற்றும்", "கட்டுரை"),
    ),
    "ur": (
        *("بشکریہ", "ماخذ", "ذریعہ", "از", "فائل", "کریڈٹ", "کا", "کی", "اور", "تحریر"),
        *("علامتی", "گرافر", "سوشل", "میڈیا"),
    ),
}
"""What else may be in one before the colon."""

RELATED: dict[str, tuple[str, ...]] = {
    "en": (
        *("related", "recommended", "similar", "other", "more", "latest", "popular"),
        *("further", "trending", "next", "previous", "most read"),
    ),
    "fi": (
        *(
            "liittyv\\p{L}+",
            "lisää",
            "muita",
            "muut",
            "suositel\\p{L}+",
            "suosituimmat",
        ),
        *("luetuimmat", "uusimmat", "samankaltais\\p{L}+", "edellinen", "seuraava"),
    ),
    "id": (
        *("terkait", "berkaitan", "serupa", "lain(?:nya)?", "terbaru", "terkini"),
        *(
            "(?:ter)?populer",
            "pilihan",
            "rekomendasi",
            "sejenis",
            "se(?:belum|lanjut)nya",
        ),
    ),
    "th": (
        *("(?:ที่)?เกี่ยวข้อง(?:กัน)?", "(?:ที่)?น่าสนใจ", "แนะนำ", "อื่น ?ๆ?", "ล่าสุด"),
        *("ยอดนิยม", "ถัดไป", "ก่อนหน้า", "เพิ่มเติม", "ใกล้เคียง"),
    ),
    "tr": (
        *(
            "ilgili",
            "benzer",
            "önerilen",
            "diğer",
            "son",
            "popüler",
            "güncel",
            "sonraki",
        ),
        *("önceki", "ilişkili", "çok okunan"),
    ),
    "vi": (
        *("liên quan", "tương tự", "khác", "mới nhất", "nổi bật", "đề xuất", "gợi ý"),
        *("cùng chủ đề", "cùng chuyên mục", "tiếp theo", "đọc nhiều"),
    ),
    "bn": (
        *("সম্পর্কিত", "সংশ্লিষ্ট", "প্রাসঙ্গিক", "অন্যান্য", "আরও", "আরো", "সর্বশেষ"),
        *("জনপ্রিয়", "পরবর্তী", "আগের"),
    ),
    "hi": (
        *("संबंधित", "सम्बंधित", "सम्बन्धित", "मिलती[- ]जुलती", "अन्य", "और", "ताज़?ा"),
        *("लोकप्रिय", "जुड़ी", "अगला", "पिछला", "प्रमुख"),
    ),
    "sw": (
        *("\\p{L}+ohusiana", "\\p{L}+ofanana", "nyingine", "mengine", "zaidi", "mpya"),
        *("maarufu", "zilizopendekezwa", "inayofuata"),
    ),
    "ta": (
        *("தொடர்புடைய", "தொடர்பான", "சம்பந்தப்பட்ட", "பிற", "மற்ற", "மேலும்", "அண்மைய"),
        *("சமீபத்திய", "பிரபலமான", "அடுத்த", "முந்தைய"),
    ),
    "ur": (
        *("متعلقہ", "ملتی جلتی", "مزید", "دیگر", "تازہ", "تازہ ترین", "مقبول", "اگلا"),
        *("پچھلا", "اہم"),
    ),
}
"""Which other texts a link is to."""

PIECE: dict[str, tuple[str, ...]] = {
    "en": (
        "articles?",
        "stor(?:y|ies)",
        "news",
        "posts?",
        "reading",
        "topics?",
        "reads?",
    ),
    "fi": (
        *("artikkel\\p{L}+", "uutis\\p{L}+", "jut(?:ut|tu|tuja)", "kirjoitu\\p{L}+"),
        *("aihe(?:esta|eseen|ita)?", "postau\\p{L}+", "lukemis\\p{L}+"),
    ),
    "id": ("artikel", "berita", "postingan", "tulisan", "topik", "konten", "bacaan"),
    "th": ("ข่าว", "บทความ", "เรื่อง", "เนื้อหา", "โพสต์", "กระทู้", "หัวข้อ", "ลิงก์"),
    "tr": (
        *("haber(?:ler)?", "yazı(?:lar(?:ımız)?)?", "makale(?:ler)?", "içerik(?:ler)?"),
        *("konu(?:lar)?", "gönderi(?:ler)?"),
    ),
    "vi": ("bài viết", "bài", "tin", "tin tức", "chủ đề", "nội dung"),
    "bn": ("খবর", "সংবাদ", "লেখা", "নিবন্ধ", "প্রবন্ধ", "পোস্ট", "প্রতিবেদন", "বিষয়"),
    "hi": ("ख़?बर(?:ें)?", "समाचार", "लेख", "आलेख", "पोस्ट", "कहानियाँ", "विषय"),
    "sw": ("habari", "makala", "taarifa", "chapisho", "machapisho", "mada"),
    "ta": ("செய்தி(?:கள்)?", "கட்டுரை(?:கள்)?", "பதிவு(?:கள்)?", "இடுகை(?:கள்)?"),
    "ur": ("خبر", "خبریں", "مضمون", "مضامین", "تحریر", "تحریریں", "پوسٹ", "کالم"),
}
"""What those are."""
