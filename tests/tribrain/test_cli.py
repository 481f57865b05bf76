"""The command line as a whole: its help, its aliases, and how it says no."""

from __future__ import annotations

import logging
import os
import pty
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import cache
from inspect import signature
from pathlib import Path

import click
import orjson
import pytest
from click.shell_completion import ShellComplete

from runner.critics.pixel import default_critics
from streams.messages.codec import encode
from tests import factories
from tests.program import COMMANDS as ALL
from tests.program import called_with, help_of
from tests.tribrain.demo_files import write_demo
from tribrain.cli import COMMANDS as ENTRIES
from tribrain.cli import GROUPS, cli, main
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import SERVICES, command_called
from tribrain.shell.lazy_group import LazyGroup

HEAVY = ("torch", "transformers", "peft")
CLIENTS = ("faust", "river", "kafka", "confluent_kafka")
SLOW = (*CLIENTS, "aiokafka", "sklearn", "scipy", "numba", "matplotlib", "pandas")


IN_EXAMPLE: dict[tuple[str, ...], tuple[str, ...]] = {("serve", "page"): ("ui",)}
"""A command with two names has an example of one of them."""
by_command = pytest.mark.parametrize("words", ALL, ids=" ".join)


def test_the_module_and_the_program_are_the_same() -> None:
    program = Path(sys.executable).with_name("tribrain")
    outputs = {run(str(program), "--help"), run(sys.executable, "-m", "tribrain.cli", "--help")}
    assert len(outputs) == 1
    assert all(f"\n  {words[0]} " in outputs.copy().pop() for words in ALL)


def test_the_commands_are_those_that_were_promised() -> None:
    assert {" ".join(words) for words in ALL} == {
        "demo", "ui", "status", "health", "doctor", "report", "config show",
        "run simulated", "run subprocess", "run wow", "run rescore", "run end", "suite run",
        "pairs export", "pairs share",
        "reward train", "reward train-text", "reward train-lora",
        "reward explain", "reward evaluate", "reward picks",
        "data build", "data finetune",
        "serve trainer", "serve text", "serve lora", "serve broker", "serve page",
        "log topics create", "log users create", "log publish", "log vote",
        "log spool status", "log spool flush", "log replay", "log verify",
        "log snapshots list", "log snapshots show", "log snapshots verify", "log snapshots rollback",
        "log dead-letters list", "log dead-letters show", "log dead-letters replay",
        "log dead-letters dismiss", "log backup", "log restore",
        "lab experiment", "lab finetune", "lab votes",
    }  # fmt: skip


def test_every_old_name_is_the_same_command_as_the_new_one() -> None:
    context = cli.context_class(cli)
    renamed = [entry for entry in ENTRIES if entry.old_name is not None]
    for entry in renamed:
        group, name = entry.name.split()
        commands = cli.get_command(context, group)
        assert isinstance(commands, click.Group)
        command = commands.get_command(context, name)
        assert command is not None
        assert cli.get_command(context, entry.old_name or "") is command
    assert {entry.old_name for entry in renamed} == {
        "backup", "broker", "build-dataset", "dlq", "end-run", "evaluate-picks", "evaluate-rm", "experiment",
        "experiment-finetune", "experiment-votes", "explain", "export-preference-pairs", "export-preferences",
        "finetune", "publish-trace", "replay", "rescore", "restore", "run-simulated", "run-subprocess",
        "run-suite", "run-wow", "serve-lora", "serve-text", "serve-trainer", "snapshots", "spool", "topics",
        "train-lora-rm", "train-preference-rm", "train-text-rm", "users", "verify-state", "vote",
    }  # fmt: skip


def test_every_command_with_rights_on_kafka_is_found_by_its_earlier_name_too() -> None:
    assert isinstance(cli, LazyGroup)
    earlier = {
        "serve-trainer": "serve trainer",
        "run-suite": "suite run",
        "vote --import": "log vote --import",
        "dlq list": "log dead-letters list",
        "replay --source pairs": "log replay --source pairs",
        "status": "status",
        "suite run": "suite run",
    }
    assert {name: " ".join(cli.called(name.split())) for name in earlier} == earlier
    assert [command_called(name) for name in earlier.values()] == list(earlier.values())


def test_every_command_with_rights_on_kafka_is_a_command_of_today() -> None:
    assert isinstance(cli, LazyGroup)
    today = {" ".join(words) for words in ALL}
    for names in SERVICES:
        for name in names.split(", "):
            assert name.partition(" --")[0] in today


def test_help_lists_every_group_and_no_old_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    listed = re.findall(r"^  ([a-z]\S*)  +\S", capsys.readouterr().out, re.MULTILINE)
    assert listed == ["demo", "ui", "status", "health", "doctor", "report", "config", *GROUPS]


def test_help_shows_two_examples_before_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("-h") == 0
    before, _, _ = capsys.readouterr().out.partition("Commands:")
    assert re.findall(r"^    tribrain (\S+)", before, re.MULTILINE) == ["demo", "run"]


def test_help_ends_with_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    _, _, codes = capsys.readouterr().out.partition("Exit codes:")
    assert [int(code) for code in re.findall(r"^  (\d+)  ", codes, re.MULTILINE)] == [0, 1, 2, 3, 4, 130]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands_with_a_line_each(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(group, "-h") == 0
    listed = capsys.readouterr().out
    for entry in ENTRIES:
        if entry.name.startswith(f"{group} "):
            assert f"  {entry.name.split()[1]} " in listed
            assert entry.summary in listed


@by_command
def test_h_is_short_for_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*words, "-h") == 0
    short = capsys.readouterr().out
    assert code_of(*words, "--help") == 0
    assert capsys.readouterr().out == short
    assert short.startswith(f"Usage: tribrain {' '.join(words)}")


@pytest.mark.parametrize("words", sorted({words[:-1] for words in ALL} - {()}), ids=" ".join)
def test_no_summary_in_a_group_s_help_is_cut(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert code_of(*words, "--help") == 0
    said = capsys.readouterr().out
    assert "..." not in said.replace("[ARGS]...", "")
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("group", "typed", "near"),
    [
        ("", "dem", "demo"),
        ("", "runs", "run"),
        ("", "train-preference", "reward train"),
        ("", "simulated", "run simulated"),
        (" run", "simulate", "simulated"),
        (" log topics", "creat", "create"),
        (" dlq", "lst", "list"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_nearest_one(
    group: str, typed: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*group.split(), typed) == 2
    assert capsys.readouterr().err == (
        f"tribrain: no such command: {typed!r}; did you mean {near!r}? (try: tribrain{group} --help)\n"
    )


@pytest.mark.parametrize("command", ["run simulated", "run-simulated"])
def test_a_mistyped_option_is_answered_with_the_nearest_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*command.split(), "--itres", "3") == 2
    assert capsys.readouterr().err == (
        f"tribrain: no such option: --itres; did you mean --iters? (try: tribrain {command} --help)\n"
    )


def test_the_line_of_usage_is_wrapped_by_what_is_seen_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("log", "dead-letters", "--help") == 0
    assert capsys.readouterr().out.startswith(
        "Usage: tribrain log dead-letters [OPTIONS] COMMAND [ARGS]...\n"
    )


def test_where_nothing_is_near_nothing_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("run", "xyzzy") == 2
    assert capsys.readouterr().err == "tribrain: no such command: 'xyzzy' (try: tribrain run --help)\n"
    assert code_of("demo", "--xyzzy") == 2
    assert capsys.readouterr().err == "tribrain: no such option: --xyzzy (try: tribrain demo --help)\n"


def completions(*words: str) -> list[str]:
    """What bash is offered after these words, of which the last is being typed."""
    shell = ShellComplete(cli, {}, "tribrain", "_TRIBRAIN_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_completion_offers_commands_groups_and_options() -> None:
    assert completions("re") == ["report", "reward"]
    assert completions("run", "s") == ["simulated", "subprocess"]
    assert completions("run-simulated", "--see") == ["--seed"]
    assert completions("log", "topics", "") == ["create"]


def test_completion_of_commands_imports_none_of_them() -> None:
    wanted = wanted_by(
        "import os, sys\n"
        "os.environ |= dict(_TRIBRAIN_COMPLETE='zsh_complete', COMP_WORDS='tribrain run ', COMP_CWORD='2')\n"
        "from tribrain.cli import main\n"
        "sys.stdout = sys.stderr\n"
        "main([])"
    )
    assert not {name for name in wanted if name.startswith("tribrain.run")}


def test_colours_are_for_terminals_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a pseudo-terminal stands for a terminal."""
    assert "\x1b[" in on_a_terminal("--help")
    assert "\x1b[" not in run(sys.executable, "-m", "tribrain.cli", "--help")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in on_a_terminal("--help")
    assert "\x1b[" not in on_a_terminal("run")


def on_a_terminal(*words: str) -> str:
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, "rb", buffering=0) as shown,
        subprocess.Popen(
            [sys.executable, "-m", "tribrain.cli", *words], stdin=theirs, stdout=theirs, stderr=theirs
        ),
    ):
        os.close(theirs)
        written = b""
        # Linux ends the reading of a closed pseudo-terminal by an error.
        with suppress(OSError):
            while some := shown.read(4096):
                written += some
    assert b"Usage:" in click.unstyle(written.decode()).encode()
    return written.decode()


@by_command
def test_help_explains_the_command_and_ends_with_an_example(words: tuple[str, ...]) -> None:
    text = help_of(words)
    assert ALL[words].help
    assert f"Example: tribrain {' '.join(IN_EXAMPLE.get(words, words))}" in text


@pytest.mark.parametrize(
    "words",
    [("run", "simulated"), ("run", "subprocess"), ("run", "wow"), ("suite", "run"), ("data", "finetune")],
    ids=" ".join,
)
def test_a_command_with_critics_says_what_each_built_in_one_can_see(words: tuple[str, ...]) -> None:
    text = help_of(words)
    assert [c.name for c in default_critics() if f"{c.name}: {c.sees}" not in text] == []


@by_command
def test_the_example_can_be_typed_as_it_is(words: tuple[str, ...]) -> None:
    tribrain, *typed = shlex.split((ALL[words].epilog or "").removeprefix("Example: "))
    assert tribrain == "tribrain"
    named = IN_EXAMPLE.get(words, words)
    assert tuple(typed[: len(named)]) == named
    # Parses, and runs nothing.
    context = called_with(words, typed[len(named) :])
    assert context.args == []


@by_command
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    options = [p for p in ALL[words].params if isinstance(p, click.Option)]
    named = {"--trace-partitions", "--replication-factor"}  # whose names say it
    assert [o.name for o in options if not o.help and not named & set(o.opts)] == []


SINGLE = [
    (words, option)
    for words, command in ALL.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.multiple and not option.is_flag
]


@pytest.mark.parametrize(("words", "option"), SINGLE, ids=lambda given: getattr(given, "name", None))
def test_an_option_that_takes_one_value_is_refused_where_it_is_given_twice(
    words: tuple[str, ...], option: click.Option
) -> None:
    """By each of its names, and also where it says the same twice."""
    for name in option.opts:
        for second in ("1", "2"):
            again = f"{name}={second}" if name.startswith("--") else f"{name}{second}"
            with pytest.raises(click.UsageError) as refusal:
                called_with(words, [option.opts[0], "1", again])
            said = f"{' or '.join(option.opts)} is given twice: '1' and '{second}'; give it once"
            assert refusal.value.message == said


@by_command
def test_help_says_which_options_may_be_repeated(words: tuple[str, ...]) -> None:
    text = help_of(words)
    assert "An option is given once, unless it says that it may be repeated." in text
    repeated = [o for o in ALL[words].params if isinstance(o, click.Option) and o.multiple]
    assert [o.name for o in repeated if "(repeatable)" not in (o.help or "")] == []


def test_a_flag_may_say_the_same_twice_and_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command(cls=Command)
    @click.option("--on/--off")
    def switch(on: bool) -> None:
        click.echo(on)

    assert switch.main(["--on", "--on"], standalone_mode=False) is None
    assert capsys.readouterr().out == "True\n"
    with pytest.raises(click.UsageError, match="--on or --off is given twice: both ways; give it once"):
        switch.main(["--on", "--off"], standalone_mode=False)


@pytest.mark.parametrize(
    "words",
    [
        ("no-such-command",),
        ("topics", "no-such-command"),
        ("--no-such-option",),
        *[(*words, "--no-such-option") for words in ALL],
        ("replay", "--out", "o", "--source", "elsewhere"),
        ("replay", "--out", "o", "--strategy", "worst_of_all"),
        ("run-simulated", "--goal", "g", "--out", "o", "--preference-gate", "ajar"),
        ("run-simulated", "--goal", "g"),
        ("demo", "--tasks", "many"),
        ("publish-trace",),
    ],
    ids=" ".join,
)
def test_what_is_unknown_is_one_line_and_code_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tribrain: ")
    assert said.err.count("\n") == 1
    assert "--help" in said.err


def test_no_command_shows_the_help_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Examples:\n    tribrain demo\n" in said.err


def test_an_interrupt_is_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert code_of("demo") == 130
    assert capsys.readouterr().err == "tribrain: interrupted\n"


def test_an_interrupt_in_code_that_is_made_of_a_text_is_code_130_too(tmp_path: Path) -> None:
    """As the import of a module with a dataclass in it; the command is started as a module."""
    (tmp_path / "interrupted.py").write_text(
        "from tribrain import cli\n"
        "cli.cli.main = lambda **_: exec('raise KeyboardInterrupt')\n"
        "cli.main(['demo'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, b"tribrain: interrupted\n")


def test_help_loads_no_client_and_no_learner() -> None:
    wanted = wanted_by("import sys; from tribrain.cli import main; sys.stdout = sys.stderr; main(['--help'])")
    assert "click" in wanted
    assert wanted.isdisjoint(CLIENTS + HEAVY)


def test_no_command_so_much_as_looks_for_torch() -> None:
    assert wanted_by_every_help().isdisjoint(HEAVY)


def test_a_run_without_a_broker_loads_no_client_of_it_and_no_compiler(tmp_path: Path) -> None:
    words = ["run-simulated", "--goal", "lift the cup", "--iters", "1", "--out", str(tmp_path / "run")]
    wanted = wanted_by(f"import sys; from tribrain.cli import main; sys.stdout = sys.stderr; main({words})")
    assert (tmp_path / "run" / "trace.jsonl").is_file()
    assert wanted.isdisjoint(SLOW)


def test_no_command_s_help_waits_for_what_its_work_needs() -> None:
    wanted = wanted_by_every_help()
    assert wanted >= {
        "tribrain.serve.trainer",
        "tribrain.rewards.evaluate",
        "tribrain.figures.plots",
        "numpy",
    }
    assert wanted.isdisjoint(SLOW)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_names_no_bounds_that_there_are_not(words: tuple[str, ...]) -> None:
    assert "None]" not in help_of(words)


def test_whatever_takes_long_has_a_dry_run() -> None:
    having = {" ".join(words) for words, c in ALL.items() if any("--dry-run" in p.opts for p in c.params)}
    assert having == {
        "run simulated", "run subprocess", "run wow", "suite run", "demo", "data finetune", "lab experiment",
        "lab finetune", "serve trainer", "serve text", "serve lora",
    }  # fmt: skip


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_with_many_options_takes_them_as_one_object(words: tuple[str, ...]) -> None:
    callback = ALL[words].callback
    assert callback is not None
    assert len(signature(callback).parameters) <= 8


def test_every_command_takes_json() -> None:
    without = {" ".join(words) for words, c in ALL.items() if not any("--json" in p.opts for p in c.params)}
    assert without == set()


def test_aliases_of_the_original_are_accepted(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path)
    pairs, model = tmp_path / "p.jsonl", tmp_path / "m.json"
    assert code_of("export-preference-pairs", "--run-dir", str(run_dir), "--out-path", str(pairs)) == 0
    assert code_of("train-preference-rm", "--pairs-jsonl", str(pairs), "--out-path", str(model)) == 0
    assert model.is_file()


def test_export_says_in_json_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.jsonl"
    assert (
        code_of("export-preference-pairs", "--run-dir", str(write_run(tmp_path)), "--out", str(out), "--json")
        == 0
    )
    said = orjson.loads(capsys.readouterr().out)
    assert said == {"pairs": 3, "pairs_by_label_source": {"critic": 3}, "out": str(out)}
    assert len(out.read_bytes().splitlines()) == 3


def test_replay_says_in_json_what_it_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = write_run(tmp_path) / "trace.jsonl"
    assert code_of("replay", "--trace", str(trace), "--out", str(tmp_path / "replayed"), "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["messages"] == 4
    assert said["identical_to_published"] is None


def test_report_says_in_json_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo(tmp_path)
    assert code_of("report", str(tmp_path), "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["runs"] == 3


def write_run(folder: Path) -> Path:
    """A run of four iterations, the second of which is the best."""
    run_dir = folder / "run"
    run_dir.mkdir()
    messages = factories.run([0.2, 0.9, 0.3, 0.5])
    (run_dir / "trace.jsonl").write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return run_dir


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@cache
def wanted_by_every_help() -> set[str]:
    return wanted_by(
        "from click.testing import CliRunner\n"
        "from tribrain.cli import cli\n"
        f"for words in {list(ALL)}:\n"
        "    assert CliRunner().invoke(cli, [*words, '--help']).exit_code == 0"
    )


def wanted_by(script: str) -> set[str]:
    """The packages that a new process looks for while it runs ``script``, there or not."""
    watch = (
        "import atexit, sys\n"
        "class Watch:\n"
        "    names = []\n"
        "    def find_spec(self, name, path=None, target=None): self.names.append(name)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "atexit.register(lambda: print(*Watch.names, file=sys.__stdout__))\n"
    )
    return set(run(sys.executable, "-c", watch + script).split())


def test_no_command_logs_the_keys_and_values_that_kafka_python_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("kafka")
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    with pytest.raises(SystemExit):
        main(["--verbose", "dlq", "--help"])
    assert not logger.isEnabledFor(logging.INFO)
