"""The IndoMER release as it is: Annotations.csv and the JSON splits of both tasks, joined on the clip's name (PAPER.md, section 3).

Layout:  FOLDER/Annotations.csv, FOLDER/{3_Class,7_Class}/{3,7}_class_{train,val[,test]}.json
Media:   FOLDER/videos/NAME.mp4 and FOLDER/audio/NAME.wav, else both beside Annotations.csv; or the same two ways under another folder.
The release's README describes more than its files hold; the files decide. Anything new in a later release is a warning, anything wrong a fault.
"""

from __future__ import annotations

from pathlib import Path

from omnimer_ray.corpora.assembly import Reading, Release, assemble
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.files import MediaFolder
from omnimer_ray.corpora.indomer_join import join
from omnimer_ray.corpora.strict import Faults


def read(folder: Path, how: Reading) -> Corpus:
    """The corpus in `folder`, its clips in the order of Annotations.csv. Raises CorpusError with all faults at once."""
    return assemble(
        "indomer",
        folder,
        _read,
        how,
        missing="give the folder that holds Annotations.csv",
        way_out=", or make stand-ins: python -m omnimer_ray.corpora stand-ins indomer:FOLDER --out FOLDER",
    )


def _read(folder: Path, media: Path, exclude: frozenset[str], faults: Faults, warnings: list[str]) -> Release:
    videos, sounds = (media / "videos", media), (media / "audio", media)
    clips = [clip._replace(videos=videos, sounds=sounds) for clip in join(folder, exclude, faults, warnings)]
    return Release(clips, MediaFolder((*videos, *sounds), beside=media))
