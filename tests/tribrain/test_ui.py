"""Who may ask the page for what, by requests as an attacker would write them; no browser, no broker."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, Settings
from tests.pages import PageServer, page_server, run_id, write_runs
from tests.waiting import wait_until
from tribrain.cli import main
from tribrain.figures.templates import LOOK
from tribrain.ui.guard import allowed_hosts, is_allowed, is_loopback
from tribrain.ui.library import run_name
from tribrain.ui.links import Forged, Links, digest, kept_key

ANN = {"Cookie": "tribrain_annotator=Ann"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ui")
    write_runs(made)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[PageServer]:
    with page_server(folder) as running:
        yield running


@pytest.fixture
def links(folder: Path, server: PageServer) -> Links:
    """The server's own."""
    return Links(kept_key(folder / "state" / "tribrain" / "ui" / "key"))


@pytest.fixture
def film(links: Links) -> str:
    return "/film/" + links.seal("film", {"candidate": digest(run_id(0), 0)})


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil.example", ""])
def test_a_host_name_that_was_rebound_to_this_computer_is_refused(server: PageServer, host: str) -> None:
    assert server.request("GET", "/", {"Host": host})[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost:8700", "127.0.0.1", "[::1]:8700", "LOCALHOST"])
def test_this_computers_names_are_answered(server: PageServer, host: str) -> None:
    assert server.request("GET", "/", {"Host": host})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
def test_what_another_site_sends_is_refused(server: PageServer, headers: dict[str, str]) -> None:
    for path in ("/vote/name", "/vote/answers", "/model/rollback"):
        assert server.request("POST", path, {**headers, "Host": "localhost"}, b"name=Eve")[0] == 403


def test_a_form_of_the_page_itself_is_taken(server: PageServer) -> None:
    own = {"Origin": f"http://localhost:{server.port}", "Host": f"localhost:{server.port}"}
    status, headers, _ = server.request("POST", "/vote/name", own, b"name=Ann+Lee")
    assert (status, headers["location"]) == (303, "/vote")
    assert "httponly" in headers["set-cookie"].lower()
    assert "samesite=lax" in headers["set-cookie"].lower()


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb", "\u202eevil"])
def test_who_gives_no_name_is_asked_again(server: PageServer, name: str) -> None:
    body = f"name={quote(name)}".encode()
    status, _, text = server.request("POST", "/vote/name", {}, body)
    # White space in a name is one space.
    assert status == (303 if name == "a\nb" else 400)
    assert (b"visible characters" in text) == (status == 400)


def test_a_form_of_megabytes_is_refused(server: PageServer) -> None:
    assert server.request("POST", "/vote/name", {}, b"name=" + b"x" * 2_000_000)[0] == 413


@pytest.mark.parametrize(
    "path",
    [
        "/static/../command.py",
        "/static/%2e%2e/command.py",
        "/static/..%2fcommand.py",
        "/static/....//command.py",
        "/static/%252e%252e/command.py",
        "/static//etc/passwd",
        "/film/../../etc/passwd",
        "/film/..%2f..%2fetc%2fpasswd",
        "/film/%2e%2e",
        "/runs/..%2f..%2f",
        "/video/..%2fvideo.mp4",
        "/static/..\\command.py",
    ],
)
def test_no_path_leads_out(server: PageServer, path: str) -> None:
    status, _, body = server.request("GET", path)
    assert status in (400, 404)
    assert b"root:" not in body
    assert b"import" not in body


def test_a_film_has_no_other_name_than_the_one_that_the_server_sealed(
    server: PageServer, links: Links, film: str
) -> None:
    assert server.request("GET", film)[0] == 200
    assert server.request("GET", film[:-8] + "AAAAAAA=")[0] == 404
    assert server.request("GET", f"/film/{digest(run_id(0), 0)}")[0] == 404
    of_another_kind = links.seal("pair", {"candidate": digest(run_id(0), 0)})
    assert server.request("GET", f"/film/{of_another_kind}")[0] == 404
    of_another_key = Links(bytes(32)).seal("film", {"candidate": digest(run_id(0), 0)})
    assert server.request("GET", f"/film/{of_another_key}")[0] == 404


def test_a_part_of_a_film_is_given_as_it_is_asked_for(server: PageServer, film: str) -> None:
    _, headers, whole = server.request("GET", film)
    assert headers["content-type"] == "video/mp4"
    size = len(whole)
    for asked, part in {
        "bytes=0-": whole,
        "bytes=10-19": whole[10:20],
        "bytes=-5": whole[-5:],
        f"bytes=0-{10 * size}": whole,
    }.items():
        status, headers, body = server.request("GET", film, {"Range": asked})
        assert (status, body) == (206, part)
        assert headers["content-range"].endswith(f"/{size}")


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=" + ",".join(f"{i}-{i}" for i in range(1000)),
        "bytes=0-1,2-3",
        "bytes=5-2",
        "bytes=99999999999-",
        "bytes=-0",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-99999999999999999999999",
        "lines=0-1",
    ],
)
def test_parts_that_cannot_be_given_are_refused(server: PageServer, film: str, asked: str) -> None:
    status, headers, body = server.request("GET", film, {"Range": asked})
    assert (status, body) == (416, b"")
    assert headers["content-range"].startswith("bytes */")


def test_every_answer_has_the_policy_and_is_kept_nowhere(server: PageServer) -> None:
    for path in ("/", "/vote", "/nowhere", "/static/page.css"):
        _, headers, _ = server.request("GET", path, ANN)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_the_look_that_reports_have_is_the_page_s_too(server: PageServer) -> None:
    assert server.request("GET", "/static/look.css", ANN)[2] == (LOOK / "look.css").read_bytes()
    assert b'href="/static/look.css"' in server.request("GET", "/", ANN)[2]


def test_without_a_broker_nobody_is_asked_to_vote(server: PageServer) -> None:
    assert b"Voting needs a broker" in server.request("GET", "/vote", ANN)[2]
    for method, path in (("GET", "/vote/next"), ("POST", "/vote/answers")):
        status, _, body = server.request(method, path, ANN, b"{}")
        assert status == 409
        assert "--bootstrap-servers" in orjson.loads(body)["error"]


def test_a_trace_that_links_out_of_its_folder_is_passed_over(tmp_path: Path) -> None:
    write_runs(tmp_path / "outside", runs=1)
    write_runs(tmp_path, runs=0)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").mkdir()
    outside = tmp_path / "outside" / "runs" / "secret-folder-0" / "trace.jsonl"
    (tmp_path / "runs" / "link" / "trace.jsonl").symlink_to(outside)
    with page_server(tmp_path) as server:
        assert run_id(0).encode() not in server.request("GET", "/runs")[2]


def test_a_video_that_links_out_of_its_run_is_not_there(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    video = tmp_path / "runs" / "secret-folder-0" / "iter_00" / "video.mp4"
    video.rename(tmp_path / "elsewhere.mp4")
    video.symlink_to(tmp_path / "elsewhere.mp4")
    with page_server(tmp_path) as server:
        links = Links(kept_key(tmp_path / "state" / "tribrain" / "ui" / "key"))
        film = "/film/" + links.seal("film", {"candidate": digest(run_id(0), 0)})
        assert server.request("GET", film)[0] == 404


def test_the_first_frame_of_a_run_is_shown_where_its_video_is(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=2)
    (tmp_path / "runs" / "secret-folder-1" / "iter_00" / "video.mp4").unlink()
    with page_server(tmp_path) as server:
        for run, is_there in enumerate((True, False)):
            still = f"/still/{digest(run_id(run), 0)}"
            status, _, body = server.request("GET", f"/runs/{run_name(run_id(run))}")
            assert status == 200
            assert (still.encode() in body) == is_there
            status, headers, body = server.request("GET", still)
            assert status == (200 if is_there else 404)
            assert (headers["content-type"] == "image/webp") == body.startswith(b"RIFF") == is_there


def test_it_ends_in_peace_when_it_is_told_to_while_pages_listen(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as listener:
        listener.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"text/event-stream" in listener.recv(4096)
        assert server.process is not None
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.process.said


def test_news_comes_as_an_event(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as listener:
        listener.settimeout(30)
        listener.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        lines = listener.makefile("rb")
        seen: list[bytes] = []
        while len(seen) < 2:
            if (line := lines.readline()).startswith(b"data: "):
                seen.append(line)
                write_runs(tmp_path, runs=2)
        assert seen[0] != seen[1]


def test_beyond_this_computer_it_asks_for_a_token(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    token = "letmein" * 4
    with page_server(tmp_path, "--host", "0.0.0.0", TRIBRAIN_UI_TOKEN=token) as server:
        assert server.request("GET", "/")[0] == 401
        assert server.request("GET", "/static/page.css")[0] == 401
        assert server.request("GET", "/?token=wrong")[0] == 401
        status, headers, _ = server.request("GET", f"/runs?token={token}&x=1")
        assert (status, headers["location"]) == (303, "/runs?x=1")
        cookie = headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()
        assert server.request("GET", "/runs", {"Cookie": cookie.partition(";")[0]})[0] == 200


def test_the_name_of_the_public_address_is_answered(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path, "--public-url", "https://Votes.example:81/") as server:
        assert server.request("GET", "/", {"Host": "votes.example:81"})[0] == 200
        assert server.request("GET", "/", {"Host": "other.example:81"})[0] == 421


def test_a_redirect_after_the_token_stays_on_the_page(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    token = "letmein" * 4
    with page_server(tmp_path, "--host", "0.0.0.0", TRIBRAIN_UI_TOKEN=token) as server:
        assert server.request("GET", f"//evil.example/?token={token}")[1]["location"] == "/evil.example/"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to show; give --runs"),
        (["--runs", "nowhere", "--port", "0"], "--runs nowhere: no such folder"),
        (["--runs", ".", "--host", "no.such.host.invalid"], "cannot be listened on"),
        (["--runs", ".", "--annotator", "x" * 61], "expected up to 60 visible characters"),
        (["--runs", ".", "--host", "0.0.0.0", "--port", "0"], "TRIBRAIN_UI_TOKEN has 5 characters"),
        (["--runs", ".", "--public-url", "votes.example:81"], "expected http(s)://NAME[:PORT]"),
        (["--runs", ".", "--public-url", "http://votes.example:x"], "expected http(s)://NAME[:PORT]"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(BOOTSTRAP_SERVERS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TRIBRAIN_UI_TOKEN", "short")
    with pytest.raises(SystemExit) as ended:
        main(["ui", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SystemExit) as ended:
            main(["ui", "--runs", str(tmp_path), "--port", str(other.getsockname()[1])])
    assert ended.value.code == 2
    assert "choose another --port" in capsys.readouterr().err


def test_the_key_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "ui" / "key"
    key = kept_key(path)
    assert (len(key), kept_key(path), path.stat().st_mode & 0o777) == (32, key, 0o600)


def test_what_is_sealed_has_one_length_and_no_meaning_without_the_key() -> None:
    links = Links(bytes(range(32)))
    short, long = links.seal("pair", {"rule": "r"}), links.seal("pair", {"rule": "random" * 20})
    assert len(short) == len(long)
    assert links.open("pair", long) == {"rule": "random" * 20}
    for kind, token in (("film", long), ("pair", long[:-3]), ("pair", "é"), ("pair", "")):
        with pytest.raises(Forged):
            links.open(kind, token)


def test_an_address_is_no_name_that_could_be_rebound_and_names_are_listed() -> None:
    wide = allowed_hosts("0.0.0.0", ("gpu.lab",))
    assert all(is_allowed(host, wide) for host in ("192.168.1.7:8700", "gpu.lab", "localhost"))
    assert not is_allowed("evil.example", wide)
    assert not is_allowed("192.168.1.7", allowed_hosts("127.0.0.1"))
    assert is_loopback("127.0.0.5")
    assert not is_loopback("192.168.1.7")


def test_a_health_check_needs_no_token_and_is_told_no_more_than_a_sentence(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path, "--host", "0.0.0.0") as server:
        assert server.request("GET", "/")[0] == 401
        status, _, body = server.request("GET", "/health")
        assert (status, body) == (200, b"It shows runs; no broker is configured.\n")
        assert server.request("GET", "/health/../runs")[0] == 401
        assert server.request("POST", "/health")[0] == 405


def test_a_page_that_cannot_read_kafka_is_503(tmp_path: Path) -> None:
    nowhere = Settings(bootstrap_servers="127.0.0.1:1")
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path, settings=nowhere) as server:
        wait_until(lambda: server.request("GET", "/health")[0] == 503)
        assert server.request("GET", "/health")[2].startswith(b"Kafka has not answered for ")
