"""Options come from the command line, the environment and a file, in this order of strength."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from streams.kafka.settings import Settings
from streams.kafka.topics import missing_topics
from tests.program import COMMANDS
from tribrain.cli import main
from tribrain.shell.config_file import keys_of

Call = Callable[..., tuple[int, str, str]]
GOAL = "move the red cube to the green bowl"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Exit code, standard output and standard error of a command."""
    for name in [name for name in os.environ if name.startswith(("TRIBRAIN_RUN_", "TRIBRAIN_CONFIG"))]:
        monkeypatch.delenv(name)

    def called(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        found = capsys.readouterr()
        return int(str(ended.value.code)), found.out, found.err

    return called


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "lab.toml"
        path.write_text(text)
        return path

    return written


def shown(call: Call, *arguments: object) -> dict[str, dict[str, Any]]:
    code, out, err = call("config", "show", "--json", *arguments)
    assert (code, err) == (0, "")
    return {row["option"]: row for row in orjson.loads(out)["options"]}


def test_a_file_may_begin_with_a_byte_order_mark(call: Call, file: Callable[[str], Path]) -> None:
    path = file("\ufeff[run]\niters = 2\n")
    assert shown(call, "run", "simulated", "--config", path)["--iters"]["value"] == 2


def test_a_file_that_is_not_utf_8_is_bad_input(call: Call, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes(b"[run]\n# caf\xe9\n")
    code, _, err = call("config", "show", "run", "simulated", "--config", tmp_path / "lab.toml")
    assert code == 2
    assert "lab.toml@line 2: byte 0xe9 is not UTF-8" in err


def test_a_variable_that_is_not_utf_8_is_bad_input(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_OUT", "run\udcff")
    code, _, err = call("run", "simulated", "--goal", GOAL)
    assert (code, err.count("\n")) == (2, 1)
    assert "TRIBRAIN_RUN_SIMULATED_OUT=run\\udcff is not UTF-8" in err


def test_the_command_line_beats_the_environment_and_that_the_file(
    call: Call, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("[run]\niters = 2\npatience = 3\n[run.simulated]\niters = 4\nseed = 5\ncandidates = 6\n")
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_SEED", "7")
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_CANDIDATES", "8")
    found = shown(call, "run", "simulated", "--config", path, "--candidates", 9)
    assert {name: found[name]["value"] for name in ("--candidates", "--seed", "--iters", "--patience")} == {
        "--candidates": 9,
        "--seed": 7,
        "--iters": 4,
        "--patience": 3,
    }
    assert {name: found[name]["source"] for name in ("--candidates", "--seed", "--iters", "--rewrites")} == {
        "--candidates": "option",
        "--seed": "environment",
        "--iters": "file",
        "--rewrites": "default",
    }
    assert found["--iters"]["place"] == f"{path} [run.simulated]"
    assert found["--patience"]["place"] == f"{path} [run]"
    assert found["--seed"]["place"] == "TRIBRAIN_RUN_SIMULATED_SEED"
    assert found["--out"]["source"] == "missing"


def test_an_old_name_reads_the_table_and_the_variables_of_the_new_one(
    call: Call, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file("[reward.train]\nepochs = 3\n")
    monkeypatch.setenv("TRIBRAIN_REWARD_TRAIN_SEED", "4")
    found = shown(call, "train-preference-rm", "--config", path)
    assert (found["--epochs"]["value"], found["--seed"]["value"]) == (3, 4)


def test_the_file_may_be_named_by_the_environment(
    call: Call, file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIBRAIN_CONFIG", str(file("[run]\niters = 2\n")))
    assert shown(call, "run", "simulated")["--iters"]["value"] == 2


def test_lists_tables_and_flags_of_a_file_are_what_the_command_line_would_give(
    call: Call, file: Callable[[str], Path]
) -> None:
    path = file(
        '[run.simulated]\ncritic = ["a=python a.py {video}", "b=python b.py {video}"]\n'
        "prefer = { physics = 2, quality = 1.5 }\nno_pixel_critics = true\n"
    )
    found = shown(call, "run", "simulated", "--config", path)
    assert found["--critic"]["value"] == ["a=python a.py {video}", "b=python b.py {video}"]
    assert found["--prefer"]["value"] == {"physics": 2.0, "quality": 1.5}
    assert found["--no-pixel-critics"]["value"] is True


@pytest.mark.parametrize("name", ["a=b,c", "light, shade", 'say "a"', "v1.1", "физика"])
def test_a_dimension_of_any_name_can_be_weighed_in_a_file_and_on_the_command_line(
    call: Call, file: Callable[[str], Path], name: str
) -> None:
    path = file(f"[run.simulated]\nprefer = {{ '{name}' = 2, physics = 1 }}\n")
    of_file = shown(call, "run", "simulated", "--config", path)["--prefer"]["value"]
    quoted = name.replace('"', '""')
    typed = shown(call, "run", "simulated", "--prefer", f'"{quoted}"=2, physics=1')["--prefer"]["value"]
    assert of_file == typed == {name: 2.0, "physics": 1.0}


def test_a_repeated_option_takes_its_values_from_a_variable_as_a_shell_splits_them(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_CRITIC", "'a=python a.py {video}' b=judge")
    assert shown(call, "run", "simulated")["--critic"]["value"] == ["a=python a.py {video}", "b=judge"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iters = 2\n", "iters is outside a table; put it under the name of its command, such as [run.wow]"),
        ("[rum]\n", "no table 'rum'; did you mean run?"),
        ("[run.simulatd]\n", "[run.simulatd] there is no command 'simulatd'; did you mean simulated?"),
        ("[run]\nitres = 2\n", "[run] there is no option 'itres'; did you mean iters?"),
        ("[run.simulated]\nwow-repo = 'x'\n", "[run.simulated] there is no option 'wow-repo'"),
        ("[run]\niters = 2.5\n", "[run] iters: '2.5' is not a valid integer"),
        ("[run]\niters = 0\n", "[run] iters: 0 is not in the range 1<=x<=100000"),
        ("[run]\niters = true\n", "[run] iters: is True; expected a text or a number"),
        ("[run]\niters = [1, 2]\n", "[run] iters: is a list; expected one value"),
        ("[run]\nfresh = 1\n", "[run] fresh: is 1; expected true or false"),
        ("[run]\nprefer = { physics = nan }\n", "[run] prefer: 'physics=nan' is not"),
        ("[run]\nmax-wall = 1\nmax_wall = 2\n", "[run] max_wall: is given twice"),
        ("[run]\niters =\n", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_table_and_key(
    call: Call, file: Callable[[str], Path], tmp_path: Path, text: str, said: str
) -> None:
    path = file(text)
    arguments = ("--goal", GOAL, "--out", tmp_path / "run", "--config", path)
    code, out, err = call("run", "simulated", *arguments)
    assert (code, out) == (2, "")
    assert f"{path}" in err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_key_that_only_another_command_of_the_group_has_may_stand_in_the_group_s_table(
    call: Call, file: Callable[[str], Path]
) -> None:
    path = file("[run]\nwow-repo = 'WoW'\niters = 3\n")
    assert shown(call, "run", "simulated", "--config", path)["--iters"]["value"] == 3
    assert shown(call, "run", "wow", "--config", path)["--wow-repo"]["value"] == "WoW"


def test_a_file_that_is_not_there_is_said(call: Call, tmp_path: Path) -> None:
    code, _, err = call("run", "simulated", "--config", tmp_path / "no.toml")
    assert code == 2
    assert f"{tmp_path / 'no.toml'}" in err


def test_a_variable_that_is_no_option_is_said_with_the_one_that_was_perhaps_meant(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_SED", "7")
    code, _, err = call("run", "simulated", "--goal", GOAL, "--out", tmp_path / "run")
    assert code == 2
    assert "'TRIBRAIN_RUN_SIMULATED_SED'; did you mean TRIBRAIN_RUN_SIMULATED_SEED?" in err


@pytest.mark.parametrize("given", [(), ("--goal", GOAL)], ids=["variables alone", "the command line too"])
def test_two_variables_of_one_option_are_bad_input_and_an_empty_one_is_none(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_PROMPT", GOAL)
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_GOAL", GOAL)
    code, _, err = call("run", "simulated", *given, "--out", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert (
        "TRIBRAIN_RUN_SIMULATED_GOAL and TRIBRAIN_RUN_SIMULATED_PROMPT are two names of one option; set one"
    ) in err
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_GOAL", "")
    assert shown(call, "run", "simulated")["--goal"]["value"] == GOAL


def test_every_option_of_several_names_has_one_variable_at_a_time(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [
        (words, keys)
        for words, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option) and len(keys := keys_of(option)) > 1
    ]
    assert len(several) > 20
    for words, keys in several:
        variables = ["_".join(["TRIBRAIN", *words, key]).upper().replace("-", "_") for key in keys[:2]]
        with monkeypatch.context() as patch:
            for variable in variables:
                patch.setenv(variable, "1")
            code, _, err = call(*words)
        assert (code, f"{' and '.join(sorted(variables))} are two names" in err) == (2, True), err


def test_a_variable_of_a_command_with_a_longer_name_is_no_concern_of_this_one(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIBRAIN_REWARD_TRAIN_TEXT_OUT", "text.json")
    assert shown(call, "reward", "train")["--out"]["source"] == "missing"
    assert shown(call, "reward", "train-text")["--out"]["value"] == "text.json"


def test_a_bad_value_of_the_environment_is_said_with_its_variable(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRIBRAIN_RUN_SIMULATED_SEED", "7x")
    code, _, err = call("run", "simulated", "--goal", GOAL, "--out", tmp_path / "run")
    assert code == 2
    assert "TRIBRAIN_RUN_SIMULATED_SEED: '7x' is not a valid integer" in err


def test_only_a_command_can_be_shown(call: Call) -> None:
    assert call("config", "show", "run")[2].startswith("tribrain: tribrain run is a group")
    assert "did you mean 'run'" in call("config", "show", "rn", "simulated")[2]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = ("run", "simulated", "--goal", GOAL, "--iters", 2, "--out", out)
    code, said, _ = call(*run, "--dry-run")
    assert code == 0
    assert said.startswith(f"would begin a run in {out}; nothing was made or written\n")
    assert not out.exists()
    assert call(*run)[0] == 0
    before = sorted(path.name for path in out.rglob("*"))
    code, said, _ = call(*run, "--dry-run", "--json")
    assert code == 0
    assert (orjson.loads(said)["events_recorded"], orjson.loads(said)["iterations"]) == (3, 2)
    assert sorted(path.name for path in out.rglob("*")) == before


def test_a_dry_run_refuses_what_the_run_would_refuse(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call("run", "simulated", "--goal", GOAL, "--iters", 1, "--out", out)[0] == 0
    code, _, err = call("run", "simulated", "--goal", GOAL, "--iters", 2, "--out", out, "--dry-run")
    assert code == 2
    assert "iters 1 rather than 2" in err


def test_the_folder_of_a_run_keeps_the_options_that_go_on_with_it(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--iters", 1, "--prefer", '"a=b,c"=1,overall=1', "--seed", 3, "--json", "--fresh")
    assert call("run", "simulated", "--goal", GOAL, "--out", out, *options)[0] == 0
    kept = shown(call, "run", "simulated", "--config", out / "config.toml")
    assert {name for name, row in kept.items() if row["source"] == "file"} == {
        "--goal",
        "--out",
        "--iters",
        "--prefer",
        "--seed",
    }
    video = (out / "iter_00" / "video.mp4").stat().st_mtime_ns
    assert kept["--prefer"]["value"] == {"a=b,c": 1.0, "overall": 1.0}
    assert call("run", "simulated", "--config", out / "config.toml")[0] == 0
    assert (out / "iter_00" / "video.mp4").stat().st_mtime_ns == video


def test_the_folder_of_a_run_keeps_which_kafka_file_it_was_given(call: Call, tmp_path: Path) -> None:
    out, properties = tmp_path / "run", tmp_path / "client.properties"
    properties.touch()
    run = ("run", "simulated", "--goal", GOAL, "--iters", 1, "--out", out, "--kafka-config", properties)
    assert call(*run)[0] == 0
    kept = shown(call, "run", "simulated", "--config", out / "config.toml")["--kafka-config"]
    assert (kept["value"], kept["source"]) == (str(properties), "file")


def test_a_suite_has_a_dry_run_and_keeps_its_options(call: Call, tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "suite"
    prompts.write_text(f'{{"index": 0, "generated_description": "{GOAL}"}}\n')
    suite = ("suite", "run", "--prompts", prompts, "--world", "simulated", "--iters", 1, "--out", out)
    code, said, _ = call(*suite, "--dry-run", "--json")
    assert code == 0
    assert (orjson.loads(said)["prompts"], orjson.loads(said)["finished"]) == (1, 0)
    assert not out.exists()
    assert call(*suite)[0] == 0
    code, said, _ = call("suite", "run", "--config", out / "config.toml", "--dry-run", "--json")
    assert code == 0
    assert orjson.loads(said)["finished"] == 1


def test_a_dry_run_of_a_demo_says_what_it_would_replace_and_keeps_it(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    demo = ("demo", "--out", out, "--tasks", 3, "--dry-run")
    code, said, _ = call(*demo)
    assert code == 0
    assert said.startswith(f"would run a demo in {out}; nothing was made or written\n")
    assert not out.exists()
    out.mkdir()
    (out / ".tribrain-demo").touch()
    (out / "trainer.log").touch()
    code, said, _ = call(*demo, "--json")
    plan = orjson.loads(said)
    assert (code, plan["replaces_a_demo"], plan["runs"], plan["at_once"]) == (0, True, 3, 4)
    assert (out / "trainer.log").exists()


def test_a_dry_run_of_a_demo_refuses_a_folder_of_something_else(call: Call, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    code, _, err = call("demo", "--out", tmp_path, "--dry-run")
    assert code == 2
    assert f"{tmp_path}" in err


@pytest.mark.parametrize("service", ["trainer", "text"])
def test_a_dry_run_of_a_service_names_the_topics_that_it_would_make(
    call: Call, kafka: str, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"dry-run-{service}")
    monkeypatch.setenv("TRIBRAIN_TOPIC_PREFIX", settings.topic_prefix)
    code, said, _ = call("serve", service, "--bootstrap-servers", kafka, "--dry-run")
    assert code == 0
    assert f"at {kafka}; nothing was started or made" in said
    assert settings.pairs_topic in said.rpartition("topics that would be made: ")[2]
    assert settings.pairs_topic in missing_topics(settings)
    code, said, _ = call("serve", service, "--bootstrap-servers", kafka, "--dry-run", "--json")
    plan = orjson.loads(said)
    assert (code, plan["dry_run"], plan["kafka"]) == (0, True, kafka)
    assert settings.pairs_topic in plan["new_topics"]
