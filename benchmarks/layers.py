"""Which layers of a frozen encoder to read: logistic regressions on pooled states, judged on validation speakers.

    python benchmarks/layers.py --model ../shared/encoders/hubert-tiny --dataset ../shared/corpora

Each line has the UAR and the log loss (every label weighing the same) on the validation part; the test part is not
read. States are kept between runs, as in training.
"""

import argparse

import numpy as np
from machine import describe
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from hf_ser import open_dataset
from hf_ser.audio.clips import Segments
from hf_ser.inference.states import pooled_states
from hf_ser.models.encoders import open_encoder, open_feature_extractor

STRENGTHS = (0.003, 0.01, 0.03, 0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    options = parser.parse_args()
    source = open_dataset(options.dataset)
    model, _ = open_encoder(options.model, source.labels, settings={"use_weighted_layer_sum": True})
    extractor = open_feature_extractor(options.model)
    states, labels = {}, {}
    for part in ("train", "validation"):
        segments = Segments(source.parts[part], sampling_rate=extractor.sampling_rate, segment_seconds=10.0)
        states[part], labels[part] = pooled_states(model, extractor, segments, layers=True), segments.labels
    count = states["train"].shape[1]
    spans = {f"layer {layer}": range(layer, layer + 1) for layer in range(count)}
    spans |= {
        f"mean of {first} to {last}": range(first, last + 1)
        for first in range(count)
        for last in range(first + 1, count)
    }
    features = {
        name: {part: it[:, list(span)].mean(axis=1) for part, it in states.items()} for name, span in spans.items()
    }
    features["all side by side"] = {part: it.reshape(len(it), -1) for part, it in states.items()}
    print(describe())
    print(f"{'features':20}{'weights':>10}{'C':>8}{'UAR %':>8}{'log loss':>10}")
    for name, parts in features.items():
        for weights in (None, "balanced") if name == f"layer {count - 1}" else ("balanced",):
            found = []
            for strength in STRENGTHS:
                solver = LogisticRegression(C=strength, max_iter=500, class_weight=weights)
                fitted = make_pipeline(StandardScaler(), solver).fit(parts["train"], labels["train"])
                truth, scores = labels["validation"], fitted.predict_proba(parts["validation"])
                uar = recall_score(truth, scores.argmax(axis=1), average="macro", labels=np.unique(truth))
                loss = log_loss(
                    truth, scores, labels=solver.classes_, sample_weight=compute_sample_weight("balanced", truth)
                )
                found.append((loss, uar, strength))
            loss, uar, strength = min(found)
            print(f"{name:20}{weights or 'none':>10}{strength:8g}{100 * uar:8.1f}{loss:10.3f}", flush=True)


if __name__ == "__main__":
    main()
