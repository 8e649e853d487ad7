"""Indonesian sentences of the generated corpus: a cue phrase expresses the text's emotion, all other words are neutral filler.

The two identities share most cue phrases but no filler and no frame; the last cues of every list are unknown to the pre-training one.
"""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple

Identities = Literal["mini", "pretraining"]

HELD_OUT_CUES = 2  # cue phrases of every emotion that are absent from pre-training

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
TOPICS = tuple(NOUNS)


class Filler(NamedTuple):
    """The neutral words around a cue, and their order."""

    openers: tuple[str, ...]
    subjects: tuple[str, ...]
    closers: tuple[str, ...]
    frames: tuple[str, ...]


FILLER: dict[Identities, Filler] = {
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
}


def sentence(random: Random, emotion: str, topic: str, identities: Identities) -> str:
    """One sentence of 3-9 words whose cue phrase expresses `emotion`, with a capital and a full stop."""
    filler = FILLER[identities]
    cues = CUES[emotion] if identities == "mini" else CUES[emotion][:-HELD_OUT_CUES]
    words = random.choice(filler.frames).format(
        opener=random.choice(filler.openers),
        subject=random.choice(filler.subjects),
        cue=random.choice(cues),
        noun=random.choice(NOUNS[topic]),
        closer=random.choice(filler.closers),
    )
    return words[0].upper() + words[1:] + "."
