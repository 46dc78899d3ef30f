"""The tests own their world: caches in a temporary folder, no token, no network."""

import os
import socket
import tempfile
from pathlib import Path

# The Hugging Face libraries read these when they are imported, so they are set before any of them is.
_HOME = tempfile.mkdtemp(prefix="hf_ser-tests-")
os.environ |= {
    "HF_HOME": _HOME,
    "HF_DATASETS_CACHE": f"{_HOME}/datasets",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_TOKEN": "",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    "CUDA_VISIBLE_DEVICES": "",
    # The suite runs in as many processes as there are cores.
    "OMP_NUM_THREADS": "1",
}

import pytest  # noqa: E402

# `--doctest-modules` would import every conftest.py under one name.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

pytest_plugins = ["hub_server.plugin", "small_corpora", "toy_corpus"]

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real speech beside the project, where there is one."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: it holds real speech that the project may not contain")
    return SHARED


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails here, by name, instead of hanging or passing by luck."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reached for {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _hubert_like(config_class, **changes):
    values = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": (16, 16, 24, 24, 32, 32, 32),
        "conv_bias": True,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "classifier_proj_size": 24,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,
    }
    return config_class(**{**values, **changes})


def write_encoder(folder: Path, architecture: str = "hubert", labels: list[str] | None = None, **changes) -> Path:
    """Write a tiny random encoder; with labels, a checkpoint that has a head for them."""
    import torch
    import transformers

    torch.manual_seed(3)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    if architecture == "whisper":
        config = transformers.WhisperConfig(
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=48,
            num_mel_bins=80,
            max_source_positions=1500,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            classifier_proj_size=24,
            suppress_tokens=None,
            begin_suppress_tokens=None,
            **changes,
        )
        extractor = transformers.WhisperFeatureExtractor()
        model = transformers.WhisperForAudioClassification(config)
    else:
        names = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM", "data2vec-audio": "Data2VecAudio"}
        name = names[architecture]
        config = _hubert_like(getattr(transformers, f"{name}Config"), **changes)
        if labels is None:
            model = getattr(transformers, f"{name}Model")(config)
        else:
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: index for index, label in enumerate(labels)}
            model = getattr(transformers, f"{name}ForSequenceClassification")(config)
            # A trained head: its rows can be told apart.
            torch.nn.init.normal_(model.classifier.weight, std=0.5)
            torch.nn.init.normal_(model.classifier.bias, std=0.5)
            torch.nn.init.normal_(model.projector.weight, std=0.5)
    model.save_pretrained(str(folder))
    extractor.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that writes a tiny random encoder once for each way it is asked for."""
    written: dict[str, Path] = {}

    def get(architecture: str = "hubert", **changes) -> Path:
        key = f"{architecture}:{sorted(changes.items())}"
        if key not in written:
            written[key] = write_encoder(tmp_path_factory.mktemp("encoder"), architecture, **changes)
        return written[key]

    return get
