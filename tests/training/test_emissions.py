"""What CodeCarbon measured is in the record and on the card; its file is not kept."""

import sys
import textwrap

import pytest

from hf_ser import finetune, training_arguments
from hf_ser.training.records import emissions

# As CodeCarbon 3.3 has it: what `stop` leaves behind, and the file that it writes.
CODECARBON = """
from pathlib import Path
from types import SimpleNamespace


class EmissionsTracker:
    def __init__(self, output_dir):
        self._folder = Path(output_dir)
        self._started = False

    def start(self):
        self._started = True

    def stop(self):
        assert self._started
        self.final_emissions_data = SimpleNamespace(
            emissions=0.0125, energy_consumed=0.031, country_name="Norway", codecarbon_version="3.3.2"
        )
        (self._folder / "emissions.csv").write_text("emissions,longitude\\n0.0125,10.7\\n")
        return 0.0125
"""


@pytest.fixture
def codecarbon(tmp_path, monkeypatch):
    """A package of that name, since the real one measures this machine and asks the network where it is."""
    folder = tmp_path / "packages" / "codecarbon"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(textwrap.dedent(CODECARBON))
    monkeypatch.syspath_prepend(folder.parent)
    yield
    sys.modules.pop("codecarbon", None)


def arguments(folder):
    return training_arguments(
        "lora_qkv",
        folder,
        num_train_epochs=1,
        per_device_train_batch_size=8,
        use_cpu=True,
        disable_tqdm=True,
        report_to="codecarbon",
    )


@pytest.mark.usefixtures("codecarbon")
def test_what_codecarbon_measured_is_in_the_record_and_on_the_card(toy, encoder, tmp_path):
    out = tmp_path / "out"
    result = finetune(encoder(), toy, output_dir=out, args=arguments(tmp_path))
    assert result.run["emissions"] == {
        "grams": 12.5,
        "kilowatt_hours": 0.031,
        "country": "Norway",
        "source": "CodeCarbon 3.3.2",
        "covers": "training",
    }
    card = (out / "README.md").read_text()
    assert "12.5 g CO2 equivalents, 0.031 kWh" in card
    assert "co2_eq_emissions:\n  emissions: 12.5\n" in card
    assert not list(out.rglob("emissions.csv"))


@pytest.mark.usefixtures("codecarbon")
def test_a_resumed_run_says_that_the_figure_covers_a_part():
    import codecarbon
    from transformers.integrations import CodeCarbonCallback

    callback = CodeCarbonCallback()
    assert emissions([callback], resumed=True) is None
    callback.tracker = codecarbon.EmissionsTracker("/nowhere")
    assert emissions([callback], resumed=True) is None
    callback.tracker.final_emissions_data = type(
        "Data", (), {"emissions": 1, "energy_consumed": 2, "country_name": "", "codecarbon_version": "3"}
    )
    assert emissions([callback], resumed=True) == {
        "grams": 1000.0,
        "kilowatt_hours": 2.0,
        "source": "CodeCarbon 3",
        "covers": "training since it was resumed",
    }
