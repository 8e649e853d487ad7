"""What an explanation that leaks its label is made of: words without a cue, and ways to say that the label was given."""

from __future__ import annotations

_ENGLISH = """
a above acoustic affect align aligned aligns all also an and answer appear appears are as associate associated at audio auditory base
based be because been being both but by can carries carry category certain change changes class classified clear clearly clip come comes
communicate communicates conclude considered consistent consistently contain contains content context contribute contributes convey
conveyed conveying conveys correspond corresponds could cue cues definitely delivery demeanor demonstrate demonstrates depict depicts
describe described determine determined different directly display do does during dynamics emotion emotional emotionally emotions entire
entirely evidence evident evidently example exhibit exhibits explain explained explains expressed expresses expressing expression
expressions expressive face facial facially feature features feel feeling feelings feels find fit fits for found from general generally
gesture gestures give gives had has have he hence her here his i identified implies imply in indicate indicated indicates indicating
indication indicative into intonation is it its itself key keyword keywords label language lead leads lexical lexically line linguistic
look looking looks mainly make makes manner match matches may mean meaning means modality mood more most mostly my nature observed
obviously of on only or our overall pace part particular pattern patterns person phrase phrases point points polarity present presents
primarily produce prosodic prosody quite rate rather really reflect reflected reflecting reflects related represent represents result
reveal revealed reveals role s seem seems segment sense sentence sentences sentiment sentiments several she show showed showing shown
shows signal signals simply since so sound sounding sounds speak speaker speakers speaking speaks speech state statement strong strongly
such suggest suggested suggesting suggests support supported supporting supports talk talks temporal text textual that the their them
there therefore these they this those through throughout thus to together tone tones transcript transcription use used uses using
utterance variation variations various verbal very video visual visuals vocal vocally vocals voice was we were when which while who
whole with within word wording words would you your
"""
_INDONESIAN = """
ada adalah adegan agar akan akustik antara apa arti atas atau audio bagi bagian bahasa bahwa beberapa berarti berbicara berdasarkan
berhubungan berkaitan berkesan bermakna bernada berperasaan bersama bersifat berupa bicara bisa bukti cenderung cocok dalam dan dapat
dari daripada demikian dengan di dia dianggap dicerminkan didukung digunakan dilihat dinamika dipakai disampaikan disimpulkan
ditampilkan ditunjukkan diungkapkan ekspresi emosi emosional frasa frase gambaran gaya hal hanya hati hingga ia ini intonasi isi isyarat
itu jadi jelas jenis jika juga kalimat kami karena kata kategori ke kecepatan keduanya kepada kesan keseluruhan ketika kita klip
konsisten konteks konten kuat kunci label laju lebih leksikal maka makna mana memang memberi memberikan membuat memiliki memperkuat
memperlihatkan mempunyai menampakkan menampilkan menandakan mencerminkan mendukung mengandung mengarah mengekspresikan menggambarkan
menggunakan mengindikasikan mengisyaratkan mengungkapkan menjadi menjelaskan menunjang menunjuk menunjukkan menyampaikan menyatakan
menyiratkan merefleksikan mereka merupakan mewakili mimik modalitas muka nada nampak oleh orang pada paling para pembicara penutur
perasaan pernyataan perubahan petunjuk pola polaritas prosodi rasa raut saat saja sama sambil sangat saya sebab sebagai sebuah secara
sehingga sejalan sekali selama selaras seluruh semua sentimen sepanjang seperti serta sesuai setiap sifat sikap sinyal suara suasana
suatu sudah tampak tampaknya tanda teks tempo temporal tentang terasa terdapat terdengar tergolong terhadap terkait terkandung terkesan
terlihat termasuk termuat tersebut terutama tetap transkrip ucapan ujaran umum umumnya unsur untuk utama variasi verbal video visual
vokal wajah warna yaitu yakni yang
"""
# Function words, the words of the prompts, and verbs of showing; no negation, because "no word of feeling" is a cue.
EMPTY_WORDS = {"en": frozenset(_ENGLISH.split()), "id": frozenset(_INDONESIAN.split())}
_LABEL_NOUN = "(?:label|sentiment|polarity|answer)"
_PROMPT_NOUN = "(?:instructions?|prompt|task|question|request|user|annotations?|annotators?|label)"
_PASSIVE = "(?:given|provided|assigned|specified|predefined|pre ?determined|pre ?assigned|supplied|annotated|labell?ed|known|set)"
_LABEL_NOUN_ID = "(?:label|sentimen|polaritas|jawaban)(?:nya)?"
_PROMPT_NOUN_ID = (
    "(?:instruksi|perintah|soal|tugas|pertanyaan|petunjuk|prompt|deskripsi|permintaan|pengguna|anotasi|anotator|label)(?:nya)?"
)
_PASSIVE_ID = "di(?:berikan|sediakan|tentukan|tetapkan|sebutkan|nyatakan|ketahui|atur|minta|labeli|tuliskan)"
GIVEN_PATTERNS = {  # on the words of an explanation with single spaces; LABEL: the label's own words
    "en": (
        rf"(?:{_PASSIVE}|gold|target|required|stated|ground truth) (?:LABEL )?{_LABEL_NOUN}",
        r"ground truth|gold label",
        rf"given (?:that )?(?:the |its |a )?(?:overall )?(?:LABEL )?{_LABEL_NOUN}",
        rf"{_LABEL_NOUN} (?:LABEL )?(?:that |which )?(?:(?:is|was|has|have|had|been|being|already) )*{_PASSIVE}",
        rf"{_LABEL_NOUN} (?:(?:is|was|has|been|already) )*stated (?:as|to be)",
        rf"{_LABEL_NOUN} (?:that |which )?(?:you|{_PROMPT_NOUN}|the {_PROMPT_NOUN}) (?:have |has )?"
        r"(?:gave|give|gives|given|provided|provides?|specif\w+|stated|states|assigned|asked|asks)",
        rf"(?:according to|following|per|in line with|based on) (?:the |this |your |my )?(?:given |provided )?{_PROMPT_NOUN}",
        rf"(?:stated|given|mentioned|specified|described|provided|indicated|noted|said|required|instructed) (?:in|by) (?:the |this |your )?{_PROMPT_NOUN}",
        r"as (?:already |was )?(?:given|instructed|specified|provided|requested)",
        rf"{_PROMPT_NOUN} (?:already |has |have )*(?:says?|said|states?|stated|gives?|gave|given|tells?|told|specif\w+|indicates?|indicated|provides?"
        rf"|provided|mentions?|mentioned|requires?) (?:\w+ ){{0,4}}(?:{_LABEL_NOUN}|LABEL)",
        r"(?:we|i) (?:are|were|am|was|have been) (?:told|given|informed|asked)",
        rf"(?:as|since|because) (?:the|its) {_LABEL_NOUN} (?:must|should|has to|needs to) be",
        r"LABEL label|label (?:is |was |of |as )?LABEL",
    ),
    "id": (
        rf"{_LABEL_NOUN_ID} (?:LABEL )?(?:itu )?(?:yang )?(?:(?:sudah|telah|memang) )*{_PASSIVE_ID}(?! (?:oleh|dari|melalui|berdasarkan))",
        rf"{_LABEL_NOUN_ID} (?:LABEL )?(?:itu )?yang (?:sudah |telah )?(?:anda|kamu|{_PROMPT_NOUN_ID}) (?:berikan|sebutkan|tentukan|sediakan|tetapkan)",
        r"di(?:beri )?label(?:i|kan)? (?:sebagai )?LABEL",
        rf"(?:sesuai|menurut|mengikuti|berdasarkan) (?:dengan )?{_PROMPT_NOUN_ID}",
        r"(?:seperti|sebagaimana|sesuai)(?: yang)? (?:(?:sudah|telah) )?di\w+ (?:(?:dalam|pada|di|oleh) )?" + _PROMPT_NOUN_ID,
        r"(?:seperti|sebagaimana|sesuai)(?: yang)? (?:(?:sudah|telah) )?di(?:berikan|minta|tentukan|tetapkan|sediakan)(?! (?:oleh|pembicara|penutur))",
        rf"{_PROMPT_NOUN_ID} (?:(?:sudah|telah) )?(?:menyatakan|menyebutkan|mengatakan|berkata|bilang|memberikan|menentukan|menetapkan|menyebut) "
        r"(?:\w+ ){0,4}(?:sentimen(?:nya)?|label(?:nya)?|LABEL)",
        rf"(?:diketahui|diberi tahu|diberitahu|disebutkan|ditentukan) (?:bahwa )?{_LABEL_NOUN_ID}",
        rf"mengingat (?:bahwa )?{_LABEL_NOUN_ID}",
        rf"karena {_LABEL_NOUN_ID} (?:memang )?harus",
        r"(?:label|jawaban)(?:nya)? (?:asli|emas|acuan|sebenarnya|yang benar)(?:nya)?",
        r"label(?:nya)? (?:adalah )?LABEL",
    ),
}
