"""What pages say around a text in each language: cookie notices, links, credits.

Of each there are two wordings, as sites write them. The filters' own lists were not
consulted for them, so that some are in no list and what is missed can be seen.
"""

COOKIE_NOTICES: dict[str, tuple[str, str]] = {
    "fi": (
        "Käytämme evästeitä parantaaksemme käyttökokemustasi. Jatkamalla sivuston "
        "käyttöä hyväksyt evästeiden käytön.",
        "Tämä sivusto käyttää evästeitä. Lisätietoja evästekäytännöstä.",
    ),
    "id": (
        "Situs web ini menggunakan cookie untuk meningkatkan pengalaman Anda. Dengan "
        "melanjutkan, Anda menyetujui penggunaan cookie.",
        "Kami memakai cookie agar situs ini berfungsi dengan baik. Pelajari lebih "
        "lanjut.",
    ),
    "th": (
        "เว็บไซต์นี้ใช้คุกกี้เพื่อเพิ่มประสบการณ์การใช้งานที่ดีให้กับท่าน เมื่อใช้งานต่อถือว่าท่านยอมรับการใช้คุกกี้",
        "เราใช้คุกกี้เพื่อให้เว็บไซต์ทำงานได้อย่างถูกต้อง เรียนรู้เพิ่มเติม",
    ),
    "tr": (
        "Sitemizde size daha iyi hizmet sunabilmek için çerezler kullanılmaktadır. "
        "Siteyi kullanmaya devam ederek çerez kullanımını kabul edersiniz.",
        "Bu internet sitesi çerez kullanır. Daha fazla bilgi edinin.",
    ),
    "vi": (
        "Trang web này sử dụng cookie để mang lại trải nghiệm tốt hơn cho bạn. Bằng "
        "việc tiếp tục, bạn đồng ý với việc sử dụng cookie.",
        "Chúng tôi dùng cookie để trang hoạt động ổn định. Tìm hiểu thêm.",
    ),
    "bn": (
        "এই ওয়েবসাইট আপনার অভিজ্ঞতা উন্নত করতে কুকি ব্যবহার করে। ব্যবহার চালিয়ে গেলে আপনি "
        "কুকি ব্যবহারে সম্মতি দিচ্ছেন।",
        "আমরা ওয়েবসাইট সচল রাখতে কুকি ব্যবহার করি। আরও জানুন।",
    ),
    "hi": (
        "यह वेबसाइट आपके अनुभव को बेहतर बनाने के लिए कुकीज़ का उपयोग करती है। जारी रखकर आप "
        "इसके लिए सहमति देते हैं।",
        "हम वेबसाइट को चलाने के लिए कुकी का इस्तेमाल करते हैं। और जानें।",
    ),
    "sw": (
        "Tovuti hii hutumia vidakuzi ili kuboresha matumizi yako. Kwa kuendelea, "
        "unakubali matumizi ya vidakuzi.",
        "Tunatumia vidakuzi kuhakikisha tovuti inafanya kazi vizuri. Jifunze zaidi.",
    ),
    "ta": (
        "எங்கள் தளம் உங்கள் அனுபவத்தை மேம்படுத்த குக்கீகளைப் பயன்படுத்துகிறது. தொடர்வதன் மூலம் "
        "அதை ஏற்றுக்கொள்கிறீர்கள்.",
        "இந்த இணையதளம் குக்கீகளைப் பயன்படுத்துகிறது. மேலும் அறிக.",
    ),
    "ur": (
        "یہ ویب سائٹ آپ کے تجربے کو بہتر بنانے کے لیے کوکیز استعمال کرتی ہے۔ جاری "
        "رکھنے سے آپ ان کے استعمال سے اتفاق کرتے ہیں۔",
        "ہم ویب سائٹ چلانے کے لیے کوکیز استعمال کرتے ہیں۔ مزید جانیں۔",
    ),
}
"""One that asks for consent, one that only tells."""

READ_MORE: dict[str, tuple[str, str]] = {
    "fi": ("Lue myös: {title}", "Aiheesta lisää: {title}"),
    "id": ("Baca juga: {title}", "Artikel terkait: {title}"),
    "th": ("อ่านเพิ่มเติม: {title}", "ข่าวที่เกี่ยวข้อง: {title}"),
    "tr": ("Devamını oku: {title}", "İlginizi çekebilir: {title}"),
    "vi": ("Xem thêm: {title}", "Bài viết liên quan: {title}"),
    "bn": ("আরও পড়ুন: {title}", "সম্পর্কিত খবর: {title}"),
    "hi": ("यह भी पढ़ें: {title}", "संबंधित खबरें: {title}"),
    "sw": ("Soma pia: {title}", "Habari zinazohusiana: {title}"),
    "ta": ("மேலும் படிக்க: {title}", "தொடர்புடைய செய்திகள்: {title}"),
    "ur": ("مزید پڑھیں: {title}", "متعلقہ خبریں: {title}"),
}
"""'Read also', and 'related articles'."""

CAPTIONS: dict[str, tuple[str, str]] = {
    "fi": ("Kuva: {name}", "Valokuvaaja: {name}"),
    "id": ("Foto: {name}", "Fotografer: {name}"),
    "th": ("ภาพ: {name}", "ช่างภาพ: {name}"),
    "tr": ("Fotoğraf: {name}", "Fotoğrafçı: {name}"),
    "vi": ("Ảnh: {name}", "Tác giả ảnh: {name}"),
    "bn": ("ছবি: {name}", "আলোকচিত্র: {name}"),
    "hi": ("फोटो: {name}", "छायाचित्र: {name}"),
    "sw": ("Picha: {name}", "Mpiga picha: {name}"),
    "ta": ("படம்: {name}", "புகைப்படக் கலைஞர்: {name}"),
    "ur": ("تصویر: {name}", "فوٹوگرافر: {name}"),
}
"""'Photo', and 'photographer'."""
