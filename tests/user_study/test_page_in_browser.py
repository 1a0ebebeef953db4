"""The page in a real browser: it fits, plays, remembers, and saves answers that count."""

from __future__ import annotations

import functools
import http.server
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from swapper.cli import main as cli
from swapper.user_study.answers import read_answers
from swapper.user_study.schedule import schedule
from swapper.user_study.trials import read_key
from tests.browser import find_chromium, needs_chromium
from tests.drawing import ALICE, Look, write_clip

pytestmark = needs_chromium

# Goes through the page as a participant would: waits for the clips, answers by key and by click,
# comes back once after a reload. It chooses the performer's own clip where it is offered.
DRIVER = """
const own = OWN, tale = JSON.parse(sessionStorage.tale || '{"early": 0, "loads": 0, "wide": []}');
tale.loads += 1; tale.drift = tale.drift || 0; tale.errors = tale.errors || [];
const keep = () => { sessionStorage.tale = JSON.stringify(tale); };
addEventListener("error", (event) => tale.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => tale.errors.push(event.blockedURI));
const make = URL.createObjectURL;
URL.createObjectURL = (blob) => {
  blob.text().then((text) => {
    tale.file = document.getElementById("save").download;
    tale.wide.push(document.documentElement.scrollWidth - document.documentElement.clientWidth);
    tale.width = innerWidth;
    parent.postMessage(JSON.stringify({ tale, text }), "*");
  });
  return make(blob);
};
const find = (id) => document.getElementById(id);
const press = (key) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
setInterval(() => {
  const page = document.documentElement;
  tale.wide.push(page.scrollWidth - page.clientWidth);
  if (!find("intro").hidden) return find("start").click();
  if (find("trial").hidden) return;
  const clips = ["performer", "left", "right"].map(find);
  const count = find("count").textContent;
  if (find("choose-left").disabled) {
    if (clips.every((clip) => !clip.paused && clip.currentTime > 0.1)) {
      const times = clips.map((clip) => clip.currentTime);
      tale.drift = Math.max(tale.drift, Math.max(...times) - Math.min(...times));
    }
    press("ArrowLeft");
    if (find("count").textContent !== count) tale.early += 1;
    return keep();
  }
  const number = Number(count.match(/\\d+/)[0]);
  const known = ["left", "right"].find((side) => own.some((name) => find(side).src.includes(name)));
  if (known) find(`choose-${known}`).click();
  else if (number % 3) press("ArrowRight");
  else press("ArrowDown");
  keep();
  if (tale.loads === 1 && number === 3) location.reload();
}, 40);
"""


class _Desk(http.server.SimpleHTTPRequestHandler):
    """Serves a study's page in a frame of some width, and takes what the driver sends."""

    def __init__(self, *rest: Any, width: int, own: list[str], told: list[Any], done: Any) -> None:
        self.width, self.own, self.told, self.done = width, own, told, done
        super().__init__(*rest, directory=str(told[0]))

    def do_GET(self) -> None:
        if self.path == "/frame":
            self._send(
                f'<body style="margin:0"><iframe src="/index.html" style="border:0;height:844px;'
                f'width:{self.width}px"></iframe><script>onmessage = (event) => '
                'fetch("/told", {method: "POST", body: event.data})</script>'
            )
        elif self.path == "/index.html":
            page = (Path(self.directory) / "index.html").read_text(encoding="utf-8")
            driver = DRIVER.replace("OWN", json.dumps(self.own))
            self._send(page.replace("<body>", f"<body><script>(() => {{{driver}}})();</script>"))
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send("")
        self.done.set()

    def _send(self, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, *rest: object) -> None:
        """Quiet."""


@contextmanager
def browser(address: str, profile: Path) -> Iterator[None]:
    command = [
        str(find_chromium()), "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio",
        f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1400,1000",
        address,
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def visit(page: Path, width: int, own: list[str], profile: Path) -> dict[str, Any]:
    told: list[Any] = [page]
    done = threading.Event()
    desk = functools.partial(_Desk, width=width, own=own, told=told, done=done)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), desk) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser(f"http://127.0.0.1:{server.server_address[1]}/frame", profile):
            finished = done.wait(60)
        server.shutdown()
    assert finished, "the page did not come to its end within a minute"
    return dict(told[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "clips/one").mkdir(parents=True)
    for i, name in enumerate(("performer", "plain", "heard", "other")):
        look = Look(skin=(220 - 30 * i, 170 - 20 * i, 140)) if i else ALICE
        write_clip(folder / f"clips/one/{name}.mp4", look, frames=10, sound=False)
    line = ["study", f"clips={folder / 'clips'}", f"output={folder / 'study'}"]
    assert cli.run([*line, "checks=2", "repeats=1"]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_participant_comes_through(made: Path, tmp_path: Path, width: int) -> None:
    study = read_key(made / "study/key.json")
    own = [clip.check for clip in study.clips.values()]
    said = visit(made / "study/page", width, own, tmp_path / "profile")
    tale, saved = said["tale"], json.loads(said["text"])
    assert tale["width"] == width
    assert max(tale["wide"]) <= 0, "the page is wider than its window"
    assert tale["loads"] == 2, "it was to be reloaded once"
    assert tale["early"] == 0, "an answer was taken before the clips were watched"
    assert tale["errors"] == []
    assert tale["drift"] < 0.2, "the clips do not play in step"
    assert tale["file"] == f"answers-{saved['participant']}.json"
    assert set(saved) == {"schema", "study", "participant", "seed", "answers"}

    answers = tmp_path / "answers"
    answers.mkdir()
    (answers / tale["file"]).write_text(said["text"], encoding="utf-8")
    people, left_out = read_answers(answers, study)
    assert not left_out
    asked = schedule(
        saved["seed"],
        [each.id for each in study.pairs],
        [each.id for each in study.checks],
        (24, 2, 1),
    )
    assert len(people[0].answers) == len(asked) >= 3 + 2
    assert [each["trial"] for each in saved["answers"]] == [each.trial for each in asked]
    line = ["study", f"answers={answers}", f"key={made / 'study/key.json'}"]
    assert cli.run([*line, f"output={tmp_path / 'results'}"]) == 0
    results = json.loads((tmp_path / "results/results.json").read_text(encoding="utf-8"))
    assert (results["participants"], results["answers"]) == (1, 3)
