"""Indonesian sentences of the generated corpus."""

from __future__ import annotations

from omnimer_ray.corpora.generated.sentences import Filler, Language

CUES = {
    "neutral": (
        "mencatat",
        "membahas",
        "memilih",
        "membaca",
        "menjelaskan",
        "menyiapkan",
        "memeriksa",
        "menyusun",
        "mengukur",
        "menunjukkan",
    ),
    "happiness": (
        "senang dengan",
        "bahagia karena",
        "gembira soal",
        "bangga dengan",
        "puas dengan",
        "suka banget",
        "bersyukur atas",
        "ceria karena",
    ),
    "surprise": (
        "kaget dengan",
        "terkejut soal",
        "tidak menyangka",
        "heran dengan",
        "takjub dengan",
        "terpana lihat",
        "tercengang soal",
        "tak mengira",
    ),
    "sadness": (
        "sedih karena",
        "kecewa dengan",
        "menangis karena",
        "kehilangan",
        "galau soal",
        "pilu karena",
        "murung karena",
        "patah hati soal",
    ),
    "anger": ("marah soal", "kesal dengan", "benci", "geram dengan", "jengkel karena", "emosi karena", "murka soal", "sebal dengan"),
    "disgust": (
        "jijik dengan",
        "mual karena",
        "muak dengan",
        "mau muntah karena",
        "enek dengan",
        "risih dengan",
        "ilfil dengan",
        "geli dengan",
    ),
    "fear": (
        "takut dengan",
        "ngeri dengan",
        "cemas soal",
        "panik karena",
        "khawatir soal",
        "merinding karena",
        "gelisah soal",
        "gemetar karena",
    ),
}

NOUNS = {
    "Cooking": ("resep", "sambal", "nasi goreng", "oven"),
    "Tutorials": ("aplikasi", "langkah", "kabel", "soal"),
    "Product": ("ponsel", "tas", "sepatu", "kamera"),
    "Celebrity": ("konser", "artis", "wawancara", "lagu"),
    "Family": ("adik", "rumah", "makan malam", "foto keluarga"),
    "Makeup": ("lipstik", "bedak", "maskara", "cermin"),
    "Sharing": ("cerita", "perjalanan", "surat", "pesan"),
    "Blogger": ("kosan", "jadwal", "pasar", "hotel"),
    "Opinion": ("berita", "aturan", "komentar", "usulan"),
    "Health": ("obat", "dokter", "hasil tes", "klinik"),
    "Politics": ("debat", "pemilu", "rapat", "pidato"),
    "Book": ("novel", "buku", "tokoh", "bab akhir"),
    "Society": ("tetangga", "banjir", "jalan raya", "antrean"),
}

INDONESIAN = Language(
    "id",
    CUES,
    NOUNS,
    {
        "mini": Filler(
            ("", "jadi ", "nah ", "sekarang ", "tadi ", "hari ini "),
            ("aku", "saya", "kami"),
            ("ini", "itu", "tadi", "kemarin", "di sini"),
            ("{opener}{subject} {cue} {noun} {closer}", "{opener}{subject} lagi {cue} {noun} {closer}"),
        ),
        "pretraining": Filler(
            ("", "lalu ", "oke ", "minggu lalu ", "di sana ", "kali ini "),
            ("dia", "mereka", "kita"),
            ("baru", "lama", "barusan", "yang itu", "pagi itu"),
            ("{subject} {cue} {noun} {closer}", "{opener}{subject} memang {cue} {noun}"),
        ),
    },
    ".",
)
