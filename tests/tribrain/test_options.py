"""Options of all commands taken together, and the types that they share."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import click
import pytest

from tests.program import COMMANDS, CONTEXTS, help_of
from tribrain.shell.option_types import FiniteFloat, Integer, RewardSource, Seconds
from tribrain.shell.renamed import Renamed

OPTIONS = [
    (words, option)
    for words, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.hidden
]
RENAMED = [(words, option) for words, option in OPTIONS if isinstance(option, Renamed)]
OF_ITS_OWN = {
    # The models of WoW that may be asked for are not those of a run alone, and so on.
    "--format", "--learner", "--require", "--train", "--world",
}  # fmt: skip
"""Choices that differ from command to command, as what they choose from does."""


def name_of(option: click.Option) -> str:
    """The one that is shown, without its short form."""
    old = option.old if isinstance(option, Renamed) else ()
    return next(name for name in option.opts if name.startswith("--") and name not in old)


def kind_of(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return f"one of {', '.join(map(str, option.type.choices))}"
    if isinstance(option.type, click.Path):
        return "a path"
    return "a flag" if option.is_flag else type(option.type).__name__


def test_one_name_has_one_type_in_all_commands() -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for _, option in OPTIONS:
        kinds[name_of(option)].add(kind_of(option))
    several = {name: found for name, found in kinds.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in OF_ITS_OWN} == {}
    assert several.keys() == OF_ITS_OWN & several.keys()


def test_one_meaning_has_one_name_in_all_commands() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for _, option in OPTIONS:
        names[(option.help or "").rstrip(".")].add(name_of(option))
    assert {text: found for text, found in names.items() if len(found) > 1} == {}


THINGS = {
    r"bt_reward\.json": "--reward",
    r"older of runs": "--runs",
    r"^Name of the reward model": "--model",
    r"^Text reward model": "--text-reward",
    r"^World model": "--world",
    r"^(Name of the|Only this) run": "--run-id",
    r"^Random seed": "--seed",
    r"^Name of who votes|^Name of the annotator": "--annotator",
    r"^(Goal|What the video has to show)": "--goal",
}
"""What the help of an option says, to the name that this thing has in every command."""


@pytest.mark.parametrize("said", THINGS)
def test_one_thing_has_one_name_in_all_commands(said: str) -> None:
    found = {name_of(option) for _, option in OPTIONS if re.search(said, option.help or "")} - {"--out"}
    assert found == {THINGS[said]}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_two_options_of_a_command_set_one_value(words: tuple[str, ...]) -> None:
    """Each would be given once, and one of them would not count."""
    names = [param.name for param in COMMANDS[words].params]
    assert len(names) == len(set(names))


def test_a_result_goes_to_out_by_its_long_or_its_short_name() -> None:
    without = [words for words, option in OPTIONS if name_of(option) == "--out" and "-o" not in option.opts]
    assert without == []
    others = {"--out-dir", "--out-path", "--output", "--work"}
    assert [words for words, option in OPTIONS if name_of(option) in others] == []


def test_a_name_that_ends_in_s_takes_a_time_and_no_other_does() -> None:
    for words, option in OPTIONS:
        assert name_of(option).endswith("-s") == isinstance(option.type, Seconds), (words, option.name)


def test_numbers_are_of_the_types_that_refuse_what_is_no_number() -> None:
    of_click = (click.types.IntParamType, click.types.FloatParamType)
    numbers = [option for _, option in OPTIONS if isinstance(option.type, of_click)]
    assert numbers
    assert [option.name for option in numbers if not isinstance(option.type, Integer | FiniteFloat)] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_more_than_eight_options_stand_in_sections(words: tuple[str, ...]) -> None:
    # --config, which every command has, aside.
    visible = [option for of, option in OPTIONS if of == words and option.name != "config"]
    sections = {id(group) for option in visible if (group := getattr(option, "group", None)) is not None}
    assert len(visible) <= 8 or len(sections) > 1


@pytest.mark.parametrize(("words", "option"), RENAMED, ids=lambda given: getattr(given, "name", None))
def test_an_earlier_spelling_does_the_same_and_is_not_shown(words: tuple[str, ...], option: Renamed) -> None:
    for old in option.old:
        parser = COMMANDS[words].make_parser(CONTEXTS[words])
        given, _, _ = parser.parse_args([old, "1"])
        assert given[option.name or ""] in ("1", ["1"])
        assert not re.search(rf"(?<![\w-]){old}(?![\w-])", help_of(words))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_how_a_time_is_given_where_there_is_one(words: tuple[str, ...]) -> None:
    takes_one = any(isinstance(option.type, Seconds) for of, option in OPTIONS if of == words)
    assert ("A time is in seconds, or has a unit: 90s, 5m, 6h, 7d." in help_of(words)) == takes_one


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("6h", 21_600.0), ("7d", 604_800.0),
        ("1.5m", 90.0), (".5", 0.5), ("1e3", 1000.0), ("0", 0.0), ("0h", 0.0),
    ],
)  # fmt: skip
def test_a_time_is_a_number_of_seconds_or_has_its_unit(text: str, seconds: float) -> None:
    assert Seconds(min=0).convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "m",
        "5x",
        "5 m",
        " 5",
        "5m ",
        "5mm",
        "5m30s",
        "1_0",
        "0x5",
        "nan",
        "inf",
        "infs",
        "1e999",
    ],
)
def test_what_is_no_time_is_named_with_what_is_expected(text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        Seconds(min=0).convert(text, None, None)
    assert refusal.value.message == f"{text!r} is not a time; expected seconds, or e.g. 90s, 5m, 6h or 7d"


@pytest.mark.parametrize(
    ("text", "bounds"), [("-1", "x>0"), ("-5m", "x>0"), ("0", "x>0"), ("0s", "x>0"), ("-0", "x>0")]
)
def test_a_time_out_of_its_bounds_is_refused(text: str, bounds: str) -> None:
    with pytest.raises(click.BadParameter, match=f"is not in the range {bounds}"):
        Seconds(min=0, min_open=True).convert(text, None, None)


def test_a_reward_model_is_a_file_or_a_name_on_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    source = RewardSource(path_type=Path)
    for text in ("there", "bt_reward.json", "runs/a", "./default"):
        assert source.convert(text, None, None) == Path(text)
    assert source.convert("default", None, None) == "default"
    with pytest.raises(click.BadParameter, match="the path is empty"):
        source.convert("", None, None)
