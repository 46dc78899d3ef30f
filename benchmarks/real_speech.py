"""What every recipe has to beat, on the same speaker-disjoint split of real speech.

    python benchmarks/real_speech.py --dataset ../shared/corpora --model ../shared/encoders/hubert-tiny

Rivals: the majority class; a linear probe on log-mel statistics; a standardised logistic regression on the
encoder's frozen pooled features. Finished runs named with --run are listed below them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from hf_ser import open_dataset
from hf_ser.audio.clips import Segments
from hf_ser.audio.decode import decode
from hf_ser.evaluation.report import render_table
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.inference.states import pooled_states
from hf_ser.models.encoders import open_encoder, open_feature_extractor


def log_mel_statistics(rows):
    """Mean and standard deviation over time of 80 log-mel bands: `(clips, 160)`."""
    filters = mel_filter_bank(201, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    window = window_function(400, "hann")
    found = []
    for row in tqdm(rows, desc="log-mel statistics", unit="clip"):
        samples = decode(row["audio"], 16_000)
        bands = spectrogram(samples, window, 400, 160, power=2.0, mel_filters=filters, mel_floor=1e-10, log_mel="log10")
        found.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1)]))
    return np.array(found)


def probe(train, train_labels, test, labels, inverse_regularisation=1.0):
    """Class probabilities of a standardised logistic regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_regularisation, max_iter=2000))
    model.fit(train, train_labels)
    scores = np.zeros((len(test), len(labels)))
    scores[:, model[-1].classes_] = model.predict_proba(test)
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--protocol", default="speaker_independent")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    source = open_dataset(options.dataset, options.protocol)
    rows = source.parts
    train_labels = np.asarray(rows["train"]["emotion"])

    def measured(scores, part="test"):
        return evaluate_scores(
            scores,
            np.asarray(rows[part]["emotion"]),
            labels=source.labels,
            corpora=list(rows[part]["corpus"]),
            speakers=list(rows[part]["speaker"]),
            seed=42,
        )

    counts = np.bincount(train_labels, minlength=len(source.labels))
    results = {"majority class": {"test": measured(np.tile(counts / counts.sum(), (len(rows["test"]), 1)))}}
    mel = {part: log_mel_statistics(rows[part]) for part in ("train", "test")}
    results["log-mel probe"] = {"test": measured(probe(mel["train"], train_labels, mel["test"], source.labels))}
    model, _ = open_encoder(options.model, source.labels)
    extractor = open_feature_extractor(options.model)
    features = {}
    for part in ("train", "test"):
        segments = Segments(rows[part], sampling_rate=16_000, segment_seconds=10.0)
        found = pooled_states(model, extractor, segments, description=f"Encoding {part} clips")
        total = np.zeros((len(rows[part]), found.shape[1]))
        np.add.at(total, segments.clip_index, found)
        features[part] = total / np.bincount(segments.clip_index, minlength=len(total))[:, None]
    scores = probe(features["train"], train_labels, features["test"], source.labels)
    results["frozen features, logistic regression"] = {"test": measured(scores)}
    for named in options.run:
        name, _, folder = named.partition("=")
        results[name] = json.loads((Path(folder) / "metrics.json").read_text())
    print(render_table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
