"""TESS: two talkers, "Say the word ..." with 200 words, seven emotions.

A name is talker_word_emotion (https://doi.org/10.5683/SP2/E8H2MF), with `ps` for pleasant surprise. The
folders spell the emotions in several ways; the file names do not. One published file is called
`OA_bite_neutral.wav`; it belongs to talker OAF.
"""

import re

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker

_NAME = re.compile(r"(OAF?|YAF)_([^_]+)_(.+)", re.ASCII | re.IGNORECASE | re.DOTALL)
_EMOTIONS = {name: name for name in ("angry", "disgust", "fear", "happy", "neutral", "sad")} | {"ps": "surprise"}
# Renamed copies spell the emotion as the published folders do.
_SURPRISES = ("pleasant_surprise", "pleasant_surprised", "surprise", "surprised")
_WORDS = """
    back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat
    check cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall
    far fat fit five food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire
    hit hole home hurl hush jail jar join judge jug juice keen keep keg kick kill king kite knock late
    laud lean learn lease lid life limb live loaf long lore lose lot love luck make match merge mess met
    mill mob mode mood moon mop mouse nag name near neat nice note numb pad page pain pass pearl peg perch
    phone pick pike pole pool puff rag raid rain raise rat reach read red ring ripe road room rose rot
    rough rush said sail search seize sell shack shall shawl sheep shirt should shout size soap soup sour
    south sub such sure take talk tape team tell thin third thought thumb time tip tire ton tool tough
    turn vine voice void vote wag walk wash week wheat when which whip white wife wire witch yearn yes
    young youth
"""
_SENTENCES: dict[str, str | None] = {word: f"Say the word {word}" for word in _WORDS.split()}
_SPEAKERS = {"tess_OAF": Speaker("female", 64), "tess_YAF": Speaker("female", 26)}


def _read_name(stem: str, folder: str) -> Clip | str | None:
    named = _NAME.fullmatch(stem)
    if named is None:
        return None
    talker = "YAF" if named.group(1).upper() == "YAF" else "OAF"
    word, emotion = named.group(2).lower(), named.group(3).lower()
    if emotion in _SURPRISES:
        emotion = "ps"
    if word not in _SENTENCES:
        return f"TESS has no word {word!r}"
    if emotion not in _EMOTIONS:
        return f"TESS has no emotion {emotion!r}"
    speaker = f"tess_{talker}"
    clip_id = f"tess/{talker}_{word}_{emotion}"
    facts = (_EMOTIONS[emotion], word, "unspecified")
    return Clip("tess", clip_id, speaker, *_SPEAKERS[speaker], *facts)


TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set (TESS)",
    speakers=_SPEAKERS,
    counts={"angry": 400, "disgust": 400, "fear": 400, "happy": 400, "neutral": 400, "sad": 400, "surprise": 400},
    sentences=_SENTENCES,
    # OAF trains by default, YAF is tested; two talkers are too few for a validation part.
    held_out=({"female": 1}, {}),
    language="en",
    acted=True,
    licence=Licence(
        id="cc-by-nc-nd-4.0",
        name="Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International",
        url="https://creativecommons.org/licenses/by-nc-nd/4.0/",
        # Only the unchanged whole may be redistributed; a selection inside another data set is a derivative.
        redistribution=False,
    ),
    citation="""\
@data{pichorafuller2020tess,
  author    = {Pichora-Fuller, M. Kathleen and Dupuis, Kate},
  title     = {{Toronto emotional speech set (TESS)}},
  publisher = {Scholars Portal Dataverse},
  year      = {2020},
  doi       = {10.5683/SP2/E8H2MF}
}""",
    homepage="https://doi.org/10.5683/SP2/E8H2MF",
    doi="10.5683/SP2/E8H2MF",
    examples=("OAF_back_angry.wav",),
    read_name=_read_name,
)
"""The 2,800 clips of TESS."""
