"""What pages say around a text in each language: cookie notices, links, credits.

Of each there are several wordings, as sites write them. The filters' own lists were not
consulted for them, so that some are in no list and what is missed can be seen. The
words of the first two of each were known when the lists were last widened; the others
were written after that, and nothing was added to the lists for them.
"""

COOKIE_NOTICES: dict[str, tuple[str, ...]] = {
    "fi": (
        "Käytämme evästeitä parantaaksemme käyttökokemustasi. Jatkamalla "
        "sivuston käyttöä hyväksyt evästeiden käytön.",
        "Tämä sivusto käyttää evästeitä. Lisätietoja evästekäytännöstä.",
        "Me ja kumppanimme tallennamme laitteellesi tietoja, kuten evästeitä, "
        "ja käsittelemme henkilötietoja.",
        "Valitse, mitkä evästeet saamme asettaa selaimeesi. Välttämättömiä ei "
        "voi poistaa käytöstä.",
    ),
    "id": (
        "Situs web ini menggunakan cookie untuk meningkatkan pengalaman Anda. "
        "Dengan melanjutkan, Anda menyetujui penggunaan cookie.",
        "Kami memakai cookie agar situs ini berfungsi dengan baik. Pelajari "
        "lebih lanjut.",
        "Kami dan mitra kami menyimpan informasi di perangkat Anda, misalnya "
        "cookie, dan memproses data pribadi.",
        "Pilih cookie mana yang boleh kami pasang di peramban Anda. Cookie yang "
        "wajib tidak dapat dimatikan.",
    ),
    "th": (
        "เว็บไซต์นี้ใช้คุกกี้เพื่อเพิ่มประสบการณ์การใช้งานที่ดีให้กับท่าน เมื่อใช้งานต่อถือว่าท่านยอมรับการใช้คุกกี้",
        "เราใช้คุกกี้เพื่อให้เว็บไซต์ทำงานได้อย่างถูกต้อง เรียนรู้เพิ่มเติม",
        "เราและพันธมิตรของเราจัดเก็บข้อมูลไว้ในอุปกรณ์ เช่น คุกกี้ และประมวลผลข้อมูลส่วนบุคคล",
        "โปรดเลือกคุกกี้ที่คุณต้องการให้เราติดตั้งในเบราว์เซอร์ คุกกี้ที่จำเป็นไม่สามารถปิดได้",
    ),
    "tr": (
        "Sitemizde size daha iyi hizmet sunabilmek için çerezler "
        "kullanılmaktadır. Siteyi kullanmaya devam ederek çerez kullanımını "
        "kabul edersiniz.",
        "Bu internet sitesi çerez kullanır. Daha fazla bilgi edinin.",
        "Biz ve iş ortaklarımız cihazınızda çerezler gibi bilgileri saklıyor ve "
        "kişisel verileri işliyoruz.",
        "Tarayıcınıza hangi çerezleri yerleştirebileceğimizi seçin. Zorunlu "
        "olanlar kapatılamaz.",
    ),
    "vi": (
        "Trang web này sử dụng cookie để mang lại trải nghiệm tốt hơn cho bạn. "
        "Bằng việc tiếp tục, bạn đồng ý với việc sử dụng cookie.",
        "Chúng tôi dùng cookie để trang hoạt động ổn định. Tìm hiểu thêm.",
        "Chúng tôi và các đối tác lưu trữ thông tin trên thiết bị, chẳng hạn "
        "như cookie, và xử lý dữ liệu cá nhân.",
        "Hãy chọn những cookie mà bạn muốn bật trong trình duyệt. Cookie bắt "
        "buộc không thể tắt.",
    ),
    "bn": (
        "এই ওয়েবসাইট আপনার অভিজ্ঞতা উন্নত করতে কুকি ব্যবহার করে। ব্যবহার "
        "চালিয়ে গেলে আপনি কুকি ব্যবহারে সম্মতি দিচ্ছেন।",
        "আমরা ওয়েবসাইট সচল রাখতে কুকি ব্যবহার করি। আরও জানুন।",
        "আমরা ও আমাদের অংশীদাররা আপনার ডিভাইসে কুকির মতো তথ্য রাখি এবং ব্যক্তিগত তথ্য প্রক্রিয়া করি।",
        "আপনার ব্রাউজারে কোন কুকিগুলি চালু থাকবে তা বেছে নিন। অপরিহার্য কুকি বন্ধ করা যায় না।",
    ),
    "hi": (
        "यह वेबसाइट आपके अनुभव को बेहतर बनाने के लिए कुकीज़ का उपयोग करती है। "
        "जारी रखकर आप इसके लिए सहमति देते हैं।",
        "हम वेबसाइट को चलाने के लिए कुकी का इस्तेमाल करते हैं। और जानें।",
        "हम और हमारे साझेदार आपके डिवाइस पर कुकी जैसी जानकारी रखते हैं और निजी "
        "डेटा संसाधित करते हैं।",
        "चुनें कि आपके ब्राउज़र में कौन-सी कुकी चालू रहें। ज़रूरी कुकी बंद नहीं की जा सकतीं।",
    ),
    "sw": (
        "Tovuti hii hutumia vidakuzi ili kuboresha matumizi yako. Kwa "
        "kuendelea, unakubali matumizi ya vidakuzi.",
        "Tunatumia vidakuzi kuhakikisha tovuti inafanya kazi vizuri. Jifunze zaidi.",
        "Sisi na washirika wetu tunahifadhi taarifa kwenye kifaa chako, kama "
        "vile vidakuzi, na kuchakata data binafsi.",
        "Chagua vidakuzi tunavyoweza kuweka kwenye kivinjari chako. Vile vya "
        "lazima haviwezi kuzimwa.",
    ),
    "ta": (
        "எங்கள் தளம் உங்கள் அனுபவத்தை மேம்படுத்த குக்கீகளைப் பயன்படுத்துகிறது. "
        "தொடர்வதன் மூலம் அதை ஏற்றுக்கொள்கிறீர்கள்.",
        "இந்த இணையதளம் குக்கீகளைப் பயன்படுத்துகிறது. மேலும் அறிக.",
        "நாங்களும் எங்கள் கூட்டாளர்களும் உங்கள் சாதனத்தில் குக்கீகள் போன்ற "
        "தகவல்களைச் சேமித்து, தனிப்பட்ட தரவைச் செயலாக்குகிறோம்.",
        "உங்கள் உலாவியில் எந்தக் குக்கீகள் இயங்க வேண்டும் என்பதைத் "
        "தேர்ந்தெடுங்கள். அவசியமானவற்றை முடக்க முடியாது.",
    ),
    "ur": (
        "یہ ویب سائٹ آپ کے تجربے کو بہتر بنانے کے لیے کوکیز استعمال کرتی ہے۔ "
        "جاری رکھنے سے آپ ان کے استعمال سے اتفاق کرتے ہیں۔",
        "ہم ویب سائٹ چلانے کے لیے کوکیز استعمال کرتے ہیں۔ مزید جانیں۔",
        "ہم اور ہمارے شراکت دار آپ کے آلے پر کوکیز جیسی معلومات رکھتے ہیں اور "
        "ذاتی ڈیٹا پر کارروائی کرتے ہیں۔",
        "منتخب کریں کہ آپ کے براؤزر میں کون سی کوکیز چالو رہیں۔ ضروری کوکیز بند "
        "نہیں کی جا سکتیں۔",
    ),
}
"""One that asks for consent, one that only tells, one of partners, one of a choice."""

READ_MORE: dict[str, tuple[str, ...]] = {
    "fi": (
        "Lue myös: {title}",
        "Aiheesta lisää: {title}",
        "Saatat pitää myös: {title}",
    ),
    "id": (
        "Baca juga: {title}",
        "Artikel terkait: {title}",
        "Anda mungkin juga suka: {title}",
    ),
    "th": (
        "อ่านเพิ่มเติม: {title}",
        "ข่าวที่เกี่ยวข้อง: {title}",
        "คุณอาจสนใจ: {title}",
    ),
    "tr": (
        "Devamını oku: {title}",
        "İlginizi çekebilir: {title}",
        "Bunlar da hoşunuza gidebilir: {title}",
    ),
    "vi": (
        "Xem thêm: {title}",
        "Bài viết liên quan: {title}",
        "Có thể bạn quan tâm: {title}",
    ),
    "bn": (
        "আরও পড়ুন: {title}",
        "সম্পর্কিত খবর: {title}",
        "আপনার আরও ভালো লাগতে পারে: {title}",
    ),
    "hi": (
        "यह भी पढ़ें: {title}",
        "संबंधित खबरें: {title}",
        "आपको यह भी पसंद आ सकता है: {title}",
    ),
    "sw": (
        "Soma pia: {title}",
        "Habari zinazohusiana: {title}",
        "Huenda ukapenda pia: {title}",
    ),
    "ta": (
        "மேலும் படிக்க: {title}",
        "தொடர்புடைய செய்திகள்: {title}",
        "உங்களுக்கும் பிடிக்கலாம்: {title}",
    ),
    "ur": (
        "مزید پڑھیں: {title}",
        "متعلقہ خبریں: {title}",
        "آپ کو یہ بھی پسند آ سکتا ہے: {title}",
    ),
}
"""'Read also', 'related articles', and 'you may like'."""

CAPTIONS: dict[str, tuple[str, ...]] = {
    "fi": (
        "Kuva: {name}",
        "Valokuvaaja: {name}",
        "Kuvassa vasemmalta: {name}",
    ),
    "id": (
        "Foto: {name}",
        "Fotografer: {name}",
        "Keterangan foto: {name}",
    ),
    "th": (
        "ภาพ: {name}",
        "ช่างภาพ: {name}",
        "คำบรรยายภาพ: {name}",
    ),
    "tr": (
        "Fotoğraf: {name}",
        "Fotoğrafçı: {name}",
        "Karede görülen: {name}",
    ),
    "vi": (
        "Ảnh: {name}",
        "Tác giả ảnh: {name}",
        "Chú thích ảnh: {name}",
    ),
    "bn": (
        "ছবি: {name}",
        "আলোকচিত্র: {name}",
        "ছবির ক্যাপশন: {name}",
    ),
    "hi": (
        "फोटो: {name}",
        "छायाचित्र: {name}",
        "तस्वीर में बाएँ से: {name}",
    ),
    "sw": (
        "Picha: {name}",
        "Mpiga picha: {name}",
        "Kwenye picha kutoka kushoto: {name}",
    ),
    "ta": (
        "படம்: {name}",
        "புகைப்படக் கலைஞர்: {name}",
        "படத்தில் இடமிருந்து: {name}",
    ),
    "ur": (
        "تصویر: {name}",
        "فوٹوگرافر: {name}",
        "تصویر میں دائیں جانب: {name}",
    ),
}
"""'Photo', 'photographer', and what a picture shows."""
