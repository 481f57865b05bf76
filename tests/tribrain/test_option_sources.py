"""Of each two places that give an option, the stronger one counts, and ``config show`` names it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from tests.program import COMMANDS, called_with
from tribrain.cli import main
from tribrain.serve.lora import every_s
from tribrain.serve.lora_options import LoraOptions
from tribrain.shell.settings_sources import SHARED_VARIABLES

SOURCES = ("option", "own variable", "shared variable", "table of the command", "table of the group")
"""From the strongest to the weakest."""
TABLES = {"table of the command": "run.simulated", "table of the group": "run"}


@dataclass(frozen=True, slots=True)
class Setting:
    key: str
    """The option's name without dashes."""
    shared_variable: str | None
    values: Sequence[str | int]
    """One for each of SOURCES."""

    @property
    def own_variable(self) -> str:
        return f"TRIBRAIN_RUN_SIMULATED_{self.key.upper().replace('-', '_')}"

    @property
    def sources(self) -> list[str]:
        return [source for source in SOURCES if self.shared_variable or source != "shared variable"]

    def given_by(self, source: str) -> Given:
        return Given(self, source, self.values[SOURCES.index(source)])


@dataclass(frozen=True, slots=True)
class Given:
    setting: Setting
    source: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Shown:
    value: Any
    source: str
    place: str


KAFKA_CONFIG = Setting("kafka-config", "TRIBRAIN_KAFKA_CONFIG", [f"{name}.properties" for name in "abcde"])
SERVERS = Setting("bootstrap-servers", "TRIBRAIN_BOOTSTRAP_SERVERS", [f"{name}:9092" for name in "abcde"])
SETTINGS = (
    KAFKA_CONFIG,
    SERVERS,
    Setting("metrics-port", "TRIBRAIN_METRICS_PORT", range(9001, 9006)),
    Setting("metrics-host", "TRIBRAIN_METRICS_HOST", [f"::{n}" for n in range(1, 6)]),
    Setting("metrics-file", "TRIBRAIN_METRICS_FILE", [f"{name}.prom" for name in "abcde"]),
    Setting("spool-dir", "TRIBRAIN_SPOOL_DIR", [f"spool-{name}" for name in "abcde"]),
    Setting("seed", None, range(1, 6)),
)
Show = Callable[..., Shown]
by_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """What ``config show run simulated`` says of a setting, in a folder that holds what may be given."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRIBRAIN_") and name != "TRIBRAIN_DATA"]:
        monkeypatch.delenv(name)
    for value in KAFKA_CONFIG.values:
        Path(str(value)).touch()

    def shown(setting: Setting, *given: Given) -> Shown:
        arguments = ["config", "show", "--json", "run", "simulated", "--config", "lab.toml"]
        tables: dict[str, list[str]] = defaultdict(list)
        with pytest.MonkeyPatch.context() as patch:
            for each in given:
                if each.source == "option":
                    arguments += [f"--{each.setting.key}", str(each.value)]
                elif each.source == "own variable":
                    patch.setenv(each.setting.own_variable, str(each.value))
                elif each.source == "shared variable":
                    patch.setenv(each.setting.shared_variable or "", str(each.value))
                else:
                    line = f"{each.setting.key} = {orjson.dumps(each.value).decode()}"
                    tables[TABLES[each.source]].append(line)
            lines = [line for name, inside in tables.items() for line in (f"[{name}]", *inside)]
            Path("lab.toml").write_text("\n".join(lines))
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        row = next(row for row in orjson.loads(out)["options"] if row["option"] == f"--{setting.key}")
        return Shown(row["value"], row["source"], row["place"])

    return shown


def expected(given: Given) -> Shown:
    setting = given.setting
    kind, place = {
        "option": ("option", f"--{setting.key}"),
        "own variable": ("environment", setting.own_variable),
        "shared variable": ("environment", setting.shared_variable or ""),
        "table of the command": ("file", "lab.toml [run.simulated]"),
        "table of the group": ("file", "lab.toml [run]"),
    }[given.source]
    value = str(Path(str(given.value)).absolute()) if setting is KAFKA_CONFIG else given.value
    return Shown(value, kind, place)


@by_setting
def test_of_two_places_the_stronger_one_counts_and_is_named(setting: Setting, show: Show) -> None:
    for stronger, weaker in combinations(map(setting.given_by, setting.sources), 2):
        assert show(setting, weaker, stronger) == expected(stronger), f"beside the {weaker.source}"


@by_setting
def test_every_place_is_stronger_than_the_default(setting: Setting, show: Show) -> None:
    assert show(setting).source == "default"
    for given in map(setting.given_by, setting.sources):
        assert show(setting, given) == expected(given)


@by_setting
def test_an_empty_variable_is_as_none(setting: Setting, show: Show) -> None:
    file = setting.given_by("table of the group")
    variables = [source for source in setting.sources if source.endswith("variable")]
    assert show(setting, file, *[Given(setting, source, "") for source in variables]) == expected(file)


@pytest.mark.parametrize("naming", SOURCES)
def test_brokers_that_a_kafka_file_names_are_weaker_than_any_others_whoever_names_the_file(
    show: Show, naming: str
) -> None:
    properties = Path("own.properties").absolute()
    properties.write_text("bootstrap.servers=own:9092\n")
    config = Given(KAFKA_CONFIG, naming, str(properties))
    assert show(SERVERS, config) == Shown("own:9092", "file", f"{properties} bootstrap.servers")
    for given in map(SERVERS.given_by, SOURCES):
        assert show(SERVERS, config, given) == expected(given)


def test_the_shared_variables_of_all_commands_are_in_this_table() -> None:
    of_table = {each.key.replace("-", "_"): each.shared_variable for each in SETTINGS if each.shared_variable}
    assert of_table == SHARED_VARIABLES


def test_no_command_has_click_read_a_variable() -> None:
    """Click would rank it over the variable of the command's own option."""
    options = [param for command in COMMANDS.values() for param in command.params]
    assert [option.name for option in options if isinstance(option, click.Option) and option.envvar] == []


@pytest.mark.parametrize(
    ("table", "arguments", "seconds"),
    [
        ("", ["--every-minutes", "2"], 120.0),
        ("every-s = 7", ["--every-minutes", "2"], 120.0),
        ("every-minutes = 2", ["--every-s", "7"], 7.0),
        ("every-minutes = 2", [], 120.0),
    ],
)
def test_of_a_time_and_its_earlier_name_in_minutes_the_stronger_one_counts(
    table: str, arguments: list[str], seconds: float, tmp_path: Path
) -> None:
    words = ("serve", "lora")
    file = tmp_path / "lab.toml"
    file.write_text(f"[serve.lora]\n{table}\n")
    needed = ["--base-model", "base", "--store", "adapters", "--config", str(file)]
    with called_with(words, [*needed, *arguments]) as context:
        assert every_s(LoraOptions(**context.params)) == seconds
