"""What explanations are made of: words without a cue, cues, and ways to say that the label was given."""

from __future__ import annotations

_ENGLISH = """
a above acoustic add adding adds affect align aligned aligns all also an analysis analyze analyzed analyzing and answer appear appears are
as assessment associate associated at atmosphere attitude audio auditory base based be because been being believed both but by can carries
carry category certain change changes characterised characteristic characteristics characterized class classified clear clearly clip
collectively combination combined come comes communicate communicates comprehensive conclude conclusion considered consistency consistent
consistently constant contain contains content context continuous contribute contributes convey conveyance conveyed conveying conveys
correspond corresponds could course create creates creating cue cues definitely delivered delivery demeanor demonstrate demonstrates
depict depicts describe described determine determined different directly display disposition do does drawn during dynamics effect
elements emotion emotional emotionally emotions emotive entire entirely entirety evaluation evidence evident evidently example exhibit
exhibiting exhibits expected experience experiences explain explained explains expressed expresses expressing expression expressions
expressive face facial facially factors feature features feel feeling feelings feels find first fit fits for form found from general
generally gesture gestures give given gives had has have he heard helps hence her here his holistic however i identified implies imply
impression in included includes including indicate indicated indicates indicating indication indicative indicator indicators individual
infer inferred inherent interpreted into intonation is it its itself key keyword keywords kind label language lead leads lean leans level
lexical lexically likely line linguistic listened listening look looking looks mainly maintain maintained maintaining maintains make makes
man manner match matches may mean meaning means modality mood more most mostly my natural nature noticeable observed obviously of on one
only onto or other our outlook overall pace part particular pattern patterns perceived person phrase phrases point points polarity portray
portrayed portrays position possible possibly predominantly presence present presents primarily primary produce prosodic prosody quite
rate rather reading reads really reason reasons reflect reflected reflecting reflects reinforce reinforces related remain remained
remaining remains represent represents respectively response result reveal revealed reveals role s seem seemingly seems seen segment sense
sentence sentences sentiment sentimental sentiments several she show showed showing shown shows signal signals significant simply since so
sound sounding sounds speak speaker speakers speaking speaks specific specifically speech stance state statement stay stays strong
strongly subject such suggest suggested suggesting suggests sum support supported supporting supports taken talk talks temporal text
textual that the their them then there therefore these they think this those through throughout thus time times to together tone tones
toward towards transcript transcription type typical typically underlying understood up use used uses using usual usually utterance
variation variations various verbal very video view viewed views visual visuals vocal vocally vocals voice was way we well were what when
which while who whole with within woman word wording words would yet you your
"""
_INDONESIAN = """
ada adalah adegan agar akan akhirnya akustik analisis antara apa arti atas atau audio bagi bagian bahasa bahwa beberapa bentuk beragam
berarti berbagai berbicara berdasarkan berekspresi berhubungan berkaitan berkat berkesan berkontribusi bermakna bernada bernuansa
berperasaan bersama bersifat berupa besar bicara bisa bukti cara cenderung ciri cocok cukup dalam dan dapat dari daripada demikian
demikianlah dengan di dia dianggap diartikan dicerminkan didukung digunakan dikatakan dilihat dinamika dinilai dinyatakan dipakai
dipengaruhi diperlihatkan dirasakan disampaikan disimpulkan ditafsirkan ditampilkan ditangkap ditunjukkan diungkapkan ekspresi ekspresif
elemen emosi emosinya emosional emosionalnya faktor fitur frasa frase gambaran gaya hadir hal hanya hasil hasilnya hati hingga ia indikasi
indikator individu ini intonasi isi isyarat itu jadi jawaban jelas jenis jika juga kalimat kami karena kata kategori ke keadaan kebanyakan
kecenderungan kecepatan keduanya kehadiran kelihatan kelihatannya kepada kesan keseluruhan keterangan ketika kita klip kondisi konsisten
konsistensi konteks konten kuat kunci kurang label lagi lainnya laju laki lebih leksikal lelaki lewat maka makna mana masing melalui
melihat memang membawa memberi memberikan membuat memiliki memperkuat memperlihatkan mempunyai menampakkan menampilkan menandakan
mencerminkan menciptakan mendengar mendukung mengandung mengarah mengekspresikan mengesankan menggambarkan menggunakan menghadirkan
menghasilkan mengindikasikan mengisyaratkan mengungkapkan menimbulkan menjadi menjelaskan menunjang menunjuk menunjukan menunjukkan
menyampaikan menyatakan menyimpulkan menyiratkan merefleksikan mereka merupakan mewakili mimik modalitas muka nada nampak nuansa nya oleh
orang pada paling pandangan para pembawaan pembicara penggunaan pengucapan penilaian penutur penyampaian perasaan perempuan pernyataan
perubahan petunjuk pola polaritas pria prosodi pun ragam rasa raut reaksi respons saat saja sama sambil sang sangat saya sebab sebagai
sebagian sebuah secara sehingga sejalan sekali selama selaras seluruh semua sentimen seolah sepanjang seperti serta seseorang sesuai
setiap si sifat sikap sinyal suara suasana suatu subjek sudah tampak tampaknya tanda teks tempo temporal tentang terasa tercermin terdapat
terdengar tergambar tergolong terhadap terkait terkandung terkesan terlihat termasuk termuat tersebut tersirat tertentu terutama
terutamanya tetap timbul total transkrip tuturan ucapan ujaran umum umumnya unsur untuk utama variasi verbal video visual vokal wajah
wajar waktu wanita warna yaitu yakni yang
"""
_CHINESE = (
    "的了是在有和与也都很这那个为以于因所而且从对其他她它我们说话者讲人者表达情感绪感倾向态度显示出现现来呈体现整明确比较主要可能看听起"
    "上去中下文本字词语句子声音频视画面内容片段段落判断分析属类别结果答案标签如此并没没有"
)
# Function words, the words of the prompts, and verbs of showing; in Chinese their characters.
EMPTY_WORDS = {"en": frozenset(_ENGLISH.split()), "id": frozenset(_INDONESIAN.split()), "zh": frozenset(_CHINESE)}
_ENGLISH_CUES = """
accelerat animat beam blink bored bounc breath bright brow calm cheek cheer clench close cold crack crie cry curv down drop dull energ
enthusias even excit eye fact factual fall fast flat fluctuat forehead frown furrow gasp gaz gentl giggl greet grimac grin groan grumbl
hand harsh head hesit high hum inform jaw joke laugh lax lift lip lively loud low moan monoton mouth mutter narrow nod nose open paus
pitch plain pout press quick quiet rais rapid relax rhythm ris roll scowl scream shak sharp shout shrug sigh slow smil smirk snap snee
snif sob soft stable stare steady stiff still straight strain stretch stutter tear teeth tempo tens thank tight tilt tir tremb twitch
unchang up upbeat volume whisper wid widen wince wink wrinkl yell
"""
_INDONESIAN_CUES = """
air alis angguk angkat bahu bentak berbinar bergetar bibir bisik buka cemberut cepat cerah ceria dahi datar desah diam dingin fakta gelak
geleng gembira gemetar gerak getar gigi girang hangat helaan hidung informasi isak jeda kasar kedip keluh kening kepala keras kerling
kernyit kerut lambat lantang lebar lemah lembut lengkung lesu lirih lompat mata membelalak monoton mulut murung naik napas nyaring pandang
patah pelan pipi ragu rahang rapat rata rendah riang rileks santai sapa sayu semangat sempit senyum seringai sinis sipit stabil tajam
tangan tangis tatap tawa tegang tegas tekan tenang teriak terisak tersedu tertutup tinggi tubuh tunduk turun volume
"""
# A word that holds one of these (English: that starts with it) is a cue, whatever surrounds it.
CUES = {
    "en": tuple(_ENGLISH_CUES.split()),
    "id": tuple(_INDONESIAN_CUES.split()),
    "zh": tuple("笑哭皱眉眼嘴唇牙叹颤抖喊叫吼快慢高低轻重响亮沉急促停顿泪瞪睁张闭紧松嗓哽咽鼻额头手摇点吸气"),
}
_LABEL_NOUN = "(?:label|sentiment|polarity|answer)"
_PROMPT_NOUN = "(?:instructions?|prompt|task|question|request|user|annotations?|annotators?|label)"
_PASSIVE = "(?:given|provided|assigned|specified|predefined|pre ?determined|pre ?assigned|supplied|annotated|labell?ed|known|set)"
_LABEL_NOUN_ID = "(?:label|sentimen|polaritas|jawaban)(?:nya)?"
_PROMPT_NOUN_ID = "(?:instruksi|perintah|soal|tugas|pertanyaan|prompt|deskripsi tugas|permintaan|pengguna|anotasi|anotator|label)(?:nya)?"
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
        rf"(?:according to|based on) (?:the |this |your |my )?(?:given |provided )?{_PROMPT_NOUN}",
        r"(?:following|per|in line with) (?:the |this |your |my )?(?:given |provided )?(?:instructions?|prompt|task|label|annotations?)",
        rf"(?:established|given|known|informed|specified|stated|told) that (?:the |its |this )?(?:clip|{_LABEL_NOUN}) is",
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
        rf"{_PROMPT_NOUN_ID} (?:(?:sudah|telah) )?(?:menyatakan|menyebutkan|mengatakan|berkata|bilang|memberikan|menentukan|menetapkan|menyebut|menunjukkan|meminta) "
        r"(?:\w+ ){0,4}(?:sentimen(?:nya)?|label(?:nya)?|LABEL)",
        rf"(?:diketahui|diberi tahu|diberitahu|disebutkan|ditentukan) (?:bahwa )?{_LABEL_NOUN_ID}",
        r"(?:sudah|telah) di(?:ketahui|tentukan|tetapkan|nyatakan|sebutkan) bahwa|(?:saya|kami|kita) (?:sudah |telah )?diberi ?tahu",
        rf"(?:oleh|dalam|pada|di) {_PROMPT_NOUN_ID} (?:sudah |telah )?di\w+ (?:sebagai )?(?:LABEL|{_LABEL_NOUN_ID})",
        rf"mengingat (?:bahwa )?{_LABEL_NOUN_ID}",
        rf"karena {_LABEL_NOUN_ID} (?:memang )?harus",
        r"(?:label|jawaban)(?:nya)? (?:asli|emas|acuan|sebenarnya|yang benar)(?:nya)?",
        r"label(?:nya)? (?:adalah )?LABEL",
    ),
    "zh": (  # characters with single spaces
        r"(?:给 定|已 知|指 定|预 设|标 注|提 供) (?:的 )?(?:LABEL )?(?:的 )?(?:情 感 )?(?:标 签|情 感|答 案|倾 向)",
        r"(?:标 签|答 案|情 感|情 感 倾 向) (?:已 经 |已 )?(?:被 )?(?:给 定|给 出|指 定|设 定|标 注)",
        r"(?:根 据|按 照|依 照) (?:给 定 的 )?(?:标 签|指 令|提 示|要 求|题 目)",
        r"标 签 (?:是|为) LABEL",
        r"因 为 (?:标 签|答 案) (?:必 须|应 该|应 当)",
    ),
}
