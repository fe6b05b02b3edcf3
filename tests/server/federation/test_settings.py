from pathlib import Path
from typing import Any

import pytest

from fedaffect.client.corpora.registry import CORPORA
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.server.federation.settings import RunSettings, from_flwr, from_toml, to_flwr, to_toml
from fedaffect.server.federation.settings.corpus_defaults import CORPUS_DEFAULTS


@pytest.mark.parametrize("dataset", CORPUS_DEFAULTS)
def test_each_corpus_runs_with_nothing_but_its_name(dataset: str) -> None:
    config = RunSettings.of(dataset=dataset)
    assert config.data.labels in LABEL_SETS
    assert config.data.modalities
    assert config.federation.rounds >= 1
    assert CORPORA[dataset].info.label_set == config.data.labels
    assert {*config.data.modalities} <= {*CORPORA[dataset].info.modalities}


def test_what_is_given_overrides_what_suits_the_corpus() -> None:
    config = RunSettings.of(dataset="meld", labels="meld4", rounds=3, modalities="text, audio")
    assert (config.data.labels, config.federation.rounds, config.data.modalities) == ("meld4", 3, ("text", "audio"))


FULL: dict[str, Any] = {
    "dataset": "meld",
    "data_dir": Path('corpora/me "quoted" ld'),
    "model_options": {"width": 64, "dropout": 0.1, "pool": "mean"},
    "strategy": "fedadam",
    "strategy_options": {"server-lr": 0.02},
    "lr": 1,
    "fold": 1,
    "folds": 3,
    "name": "näme",
    "retrain_with_dev": True,
    "clients_per_round": 5,
}


def test_toml_and_back(tmp_path: Path) -> None:
    config = RunSettings.of(**FULL)
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert from_toml(tmp_path / "config.toml") == config


def test_flower_run_config_and_back() -> None:
    config = RunSettings.of(**FULL)
    flat = to_flwr(config)
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert flat["strategy-options.server-lr"] == 0.02
    assert from_flwr({**flat, "max-steps": "", "ray-address": ""}) == config


def test_options_that_are_tables_survive_every_form(tmp_path: Path) -> None:
    experts = {"priors": {"text": [0.2, 0.3, 0.5]}, "neutral": 2, "unshown": 0.3}
    config = RunSettings.of(dataset="meld", model_options={"width": 16, "experts": experts})
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert from_toml(tmp_path / "config.toml").model.model_options == {"width": 16, "experts": experts}
    assert from_flwr(to_flwr(config)).model.model_options == {"width": 16, "experts": experts}
    assert from_flwr({"dataset": "meld", "model-options.note": "{no table"}).model.model_options == {
        "note": "{no table"
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategie": "fedavg"}, "did you mean 'strategy'"),
        ({"labels": "meld9"}, "meld7"),
        ({"modalities": "text,smell"}, "audio"),
        ({"modalities": ""}, "--modalities"),
        ({"rounds": 0}, "--rounds must be 1 or more"),
        ({"rounds": "ten"}, "--rounds takes a whole number"),
        ({"rounds": 1.5}, "--rounds takes a whole number"),
        ({"lr": -1.0}, "--lr must be above 0"),
        ({"lr": float("nan")}, "--lr must be above 0"),
        ({"missing_modality": 1.2}, "--missing-modality is a rate between 0 and 1"),
        ({"engine": "spark"}, "ray"),
        ({"engine": "flower", "gpus_per_actor": 0.5}, "--gpus-per-actor needs --engine ray"),
        ({"engine": "flower", "cohort_size": 8}, "--cohort-size needs --engine ray"),
        ({"cohort_size": 0}, "--cohort-size must be 1 or more"),
        ({"mode": "alone"}, "local-only"),
        ({"folds": 1}, "--folds 1"),
        ({"folds": 3, "fold": 4}, "folds 1 to 3"),
        ({"folds": 3, "fold": 0}, "folds 1 to 3"),
        ({"fold": 1}, "add --folds"),
        ({"name": "a/b"}, "--out"),
        ({"strategy_options": 3}, "table of options"),
        ({"round_timeout_s": 0}, "--round-timeout-s must be above 0"),
        ({"seed": -1}, "--seed must be 0 or more"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunSettings.of(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("rounds = ")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        from_toml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        from_toml(tmp_path / "absent.toml")


def test_differences_are_those_that_change_what_is_learnt() -> None:
    config = RunSettings.of(dataset="meld", lr=0.001, lr_schedule="constant")
    elsewhere = config.changed(out=Path("there"), name="x", engine="flower", actors=1, rounds=99, data_dir=Path("d"))
    assert config.differences(elsewhere) == []
    assert config.differences(config.changed(seed=1, lr=0.5)) == ["--seed: 0, 1", "--lr: 0.001, 0.5"]
    # MELD's own number, spelled out.
    assert config.differences(config.changed(clients_per_round=30)) == []
    assert config.changed(clients_per_round=30).differences(config) == []
    assert config.differences(config.changed(clients_per_round=29)) == ["--clients-per-round: unset, 29"]
    falling = config.changed(lr_schedule="cosine")
    assert falling.differences(falling.changed(rounds=99)) == ["--rounds: 40, 99"]


def test_clients_a_round() -> None:
    assert RunSettings.of(dataset="meld").clients_a_round(7) == 7
    assert RunSettings.of(dataset="meld", clients_per_round=4).clients_a_round(7) == 4
    with pytest.raises(ConfigError, match=r"9 .* 7 clients"):
        RunSettings.of(dataset="meld", clients_per_round=9).clients_a_round(7)


def test_learning_rate_schedules() -> None:
    assert RunSettings.of(lr=0.1, lr_schedule="constant").lr_at(7) == 0.1
    falling = RunSettings.of(lr=0.1, lr_schedule="cosine", rounds=10)
    rates = [falling.lr_at(r) for r in range(1, 11)]
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"dataset": "meld"}, "meld-fedavg-seed0"),
        ({"dataset": "meld", "lr": 0.01, "seed": 3}, "meld-fedavg-lr0.01-seed3"),
        # The corpus's own values, spelled out, are no difference; nor is what does not change what is learned.
        ({"dataset": "meld", "lr": 5e-4, "actors": 2, "engine": "flower"}, "meld-fedavg-seed0"),
        ({"mode": "centralized", "rounds": 3}, "synthetic-centralized-rounds3-seed0"),
        ({"folds": 5, "fold": 2}, "synthetic-fedavg-folds5-fold2-seed0"),
        ({"dataset": "meld", "dp": "local", "epsilon": 8.0}, "meld-fedavg-dp-local-epsilon8-seed0"),
        (
            {"strategy": "fedadam", "strategy_options": {"server_lr": 0.1}, "partition": "iid:50"},
            "synthetic-fedadam-iid-50-server-lr0.1-seed0",
        ),
    ],
)
def test_a_run_that_nobody_named_is_named_by_what_it_differs_in(settings: dict[str, Any], name: str) -> None:
    assert RunSettings.of(settings).run_name == name


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "x" * 129, " padded"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    # With --overwrite, a run named ".." would have taken the place of everything beside it.
    with pytest.raises(ConfigError, match="is not a folder name of 1 to 128 characters") as caught:
        RunSettings.of(name=name)
    assert len(str(caught.value)) <= 160
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["run", "lr=0.2,seed=1", "żółw ✓", "x" * 128, "a..b", "-"])
def test_a_folders_name_is_taken(name: str) -> None:
    assert RunSettings.of(name=name).run_name == name


@pytest.mark.parametrize("out", ["a\0b", "a/" + "é" * 200])
def test_a_place_that_cannot_be_is_refused(out: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a folder"):
        RunSettings.of(out=out)


@pytest.mark.parametrize("setting", ["rounds", "seed", "batch_size", "clients_per_round", "actors", "context"])
def test_no_whole_number_is_beyond_what_anything_holds(setting: str) -> None:
    for value in (2**31, 10**30, 10**400):
        with pytest.raises(ConfigError, match="must be 2,147,483,647 or less"):
            RunSettings.of({setting: value})


def test_names_of_many_differences_stay_short_and_apart() -> None:
    many = {"momentum": 0.5, "optimizer": "sgd", "gradient_clip": 2.0, "max_steps": 9, "label_noise": 0.25}
    names = {RunSettings.of(many, batch_size=size).run_name for size in (2, 4, 8)}
    assert len(names) == 3
    assert all(len(name) <= 64 and name.startswith("synthetic-fedavg-") for name in names)


def test_fedmultimodal_implies_its_four_labels() -> None:
    assert RunSettings.of(dataset="meld", partition="fedmultimodal").data.labels == "meld4"
    assert RunSettings.of(dataset="meld", partition="fedmultimodal", labels="meld7").data.labels == "meld7"


def test_switches_take_no_text() -> None:
    with pytest.raises(ConfigError, match=r"--secagg takes true or false, not 'false' \(section secagg\)"):
        RunSettings.of(secagg="false")


def test_a_file_has_a_table_each_section_and_says_where_a_setting_belongs(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('dataset = "meld"\n[training]\nlr = 0.1\n[model-options]\nwidth = 8\n')
    config = from_toml(path)
    assert (config.data.dataset, config.training.lr, config.model.model_options) == ("meld", 0.1, {"width": 8})
    path.write_text("[training]\nrounds = 3\n")
    with pytest.raises(ConfigError, match=r"rounds stands in \[training\]; move it to \[federation\]"):
        from_toml(path)
    path.write_text("[training]\nlearning = 3\n")
    with pytest.raises(ConfigError, match="unknown setting 'learning'"):
        from_toml(path)


def test_a_file_of_windows_notepad_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[data]\r\ndataset = 'meld'\r\n")
    assert from_toml(path).data.dataset == "meld"


def test_an_unknown_name_is_said_with_its_file_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    says = r"config\.toml: unknown setting 'datset'; did you mean 'dataset'\? known: "
    for text in ("[data]\ndatset = 'meld'\n", "datset = 'meld'\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says) as caught:
            from_toml(path)
        assert len(str(caught.value)) - len(str(path)) <= 162
