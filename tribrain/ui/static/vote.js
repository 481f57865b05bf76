// Voting: shows a pair, preloads the next one, and resends votes until the server answers.

import { Pair } from "/static/player.js";

const $ = (id) => document.getElementById(id);
const SESSION = 20; // votes after which a break is suggested
const SETTLE_MS = 250; // the second click of a double click must not answer the next pair
const PENDING = "tribrain.pending";
const DONE = "tribrain.session";
const dimensions = JSON.parse($("voting").dataset.dimensions);
const PAUSE_WORDS = ["Thank you", "Every vote improves the model. A short break keeps answers consistent."];
const ENDS = { // why there is no next pair: title and text
  no_pairs: ["Nothing to vote on yet", "New pairs appear as runs generate videos."],
  all_judged: ["You have judged every pair", "New pairs appear as runs generate videos."],
  held: ["Others are judging the last pairs", "Look again in a few minutes."],
  refused: ["No pair can be shown", "Reload the page to try again."],
};
const KEYS = { 1: "left", 2: "right", t: "tie", b: "both_bad", s: "cannot_tell" };

let shown = null; // { data, player, at, promptsRead }
let ahead = null; // a promise of the next pair
let turn = 0;
let slow = false;
let session = restore(DONE, { n: 0, votes: [] });

// Sending votes

let sending = false;
let pause = 250;

function restore(key, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function keep(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch { /* without storage, a reload forgets the session */ }
}

let pending = restore(PENDING, []);

function send(vote) {
  pending.push(vote);
  keep(PENDING, pending);
  sendPending();
}

async function sendPending() {
  if (sending) return;
  sending = true;
  while (pending.length) {
    say("Saving …");
    let problem = "The server does not answer.";
    try {
      const answer = await fetch("/vote/answers", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(pending[0]),
        signal: AbortSignal.timeout(10000),
      });
      const said = await answer.json().catch(() => ({}));
      if (answer.ok) {
        accepted(said, pending[0]);
        continue;
      }
      problem = said.error ?? `The server answers ${answer.status}.`;
      if (answer.status < 500 && answer.status !== 408 && answer.status !== 429) {
        // A retry would not help.
        pending.shift();
        keep(PENDING, pending);
        notice(`A vote was refused: ${problem}`);
        continue;
      }
    } catch { /* no answer */ }
    notice(`${problem} ${pending.length === 1 ? "Your vote is" : `${pending.length} votes are`} kept in this tab and will be sent again.`);
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(2 * pause, 3000);
  }
  sending = false;
}

function accepted(said, sent) {
  pending.shift();
  // If this showing was already answered, the earlier answer counts, under its own id.
  for (const vote of session.votes) if (vote.id === sent.vote_id) vote.id = said.vote_id;
  for (const undo of pending) if (undo.takes_back === sent.vote_id) undo.takes_back = said.vote_id;
  keep(PENDING, pending);
  pause = 250;
  if (said.place === "spool") notice("Kafka is unreachable. Votes are safe on the server's disk and are sent when it is back.");
  else notice("");
  say("Saved");
  $("see-model").hidden = false;
}

// The next pair

// isFresh: nothing is on the stage, so the server need not reserve what was there before.
async function load(isFresh = false) {
  const dimension = dimensions[turn % dimensions.length];
  turn += 1;
  for (let wait = 250; ; wait = Math.min(2 * wait, 3000)) {
    let data = null;
    let why = "The server does not answer.";
    try {
      const answer = await fetch(`/vote/next?dimension=${encodeURIComponent(dimension)}${isFresh ? "&fresh=1" : ""}`, { signal: AbortSignal.timeout(60000) });
      if (answer.ok) data = await answer.json();
      else {
        const said = (await answer.json().catch(() => ({}))).error;
        if (answer.status < 500) {
          notice(said ?? "Please reload the page.");
          return { pair: null, why: "refused" };
        }
        why = said ?? why;
      }
    } catch { /* no answer */ }
    if (data !== null) {
      if (data.pair === null) return data;
      const player = new Pair(data.left, data.right);
      try {
        await player.ready;
        notice("");
        return { ...data, player };
      } catch {
        player.destroy();
      }
    } else {
      notice(`${why} The page continues when it is back.`);
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function next() {
  const before = shown;
  let data = await (ahead ?? load(before === null));
  ahead = null;
  if (data.pair === null && data.why !== "refused" && before) {
    // That answer came while another pair was on the stage.
    await sent();
    data = await load(true);
    if (shown !== before) return;
  }
  if (data.pair === null) {
    finish(data);
    return;
  }
  show(data);
  ahead = load();
}

function show(data) {
  if (shown) shown.player.destroy();
  const player = data.player ?? new Pair(data.left, data.right);
  shown = { data, player, at: performance.now(), promptsRead: false };
  $("goal").textContent = data.goal || "No goal was given";
  $("question").textContent = data.dimension ? `Which video is better in ${data.dimension}?` : "Which video does this better?";
  $("about").textContent = data.about;
  $("about").hidden = !data.about;
  ["left", "right"].forEach((side, i) => {
    $(side).querySelector("video")?.remove();
    player.films[i].setAttribute("aria-label", `${side === "left" ? "Left" : "Right"} video`);
    $(side).prepend(player.films[i]);
    $(side).classList.remove("chosen");
  });
  $("stage").classList.toggle("wide", data.left.width > 1.2 * data.left.height);
  $("stage").classList.remove("fresh");
  void $("stage").offsetWidth;
  $("stage").classList.add("fresh");
  close("first-frame", "start");
  close("prompt-texts", "prompts");
  player.setSpeed(slow ? 0.25 : 1);
  player.play();
  playing(true);
  document.documentElement.dataset.pair = data.pair;
  document.documentElement.dataset.open = "";
  setTimeout(() => { if (shown?.data === data) document.documentElement.dataset.open = data.pair; }, SETTLE_MS);
}

// Answers

function answer(value) {
  if (!shown || shown.isAnswered || performance.now() - shown.at < SETTLE_MS) return;
  shown.isAnswered = true;
  const { data, player } = shown;
  const vote = {
    vote_id: newId(), pair: data.pair, answer: value,
    response_time_s: (performance.now() - shown.at) / 1000,
    plays_left: player.plays[0], plays_right: player.plays[1], prompts_read: shown.promptsRead,
  };
  if (value === "left" || value === "right") $(value).classList.add("chosen");
  session.n += 1;
  session.votes.push({ id: vote.vote_id, data: plain(data) });
  counted();
  send(vote);
  if (session.n % SESSION === 0) finish({});
  else next();
}

function undo() {
  const last = session.votes.pop();
  if (!last) return;
  session.n -= 1;
  counted();
  send({ vote_id: newId(), pair: last.data.pair, answer: null, takes_back: last.id });
  say("Taken back");
  const current = shown && !shown.isAnswered ? plain(shown.data) : null;
  hideSummary();
  show(last.data);
  if (!current) return;
  ahead?.then((data) => data.player?.destroy());
  ahead = Promise.resolve(current);
}

// The part of a pair that survives a reload: everything but the player.
function plain({ pair, goal, dimension, left, right }) {
  return { pair, goal, dimension, left, right };
}

// Works on insecure pages, too, where crypto.randomUUID is missing.
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function counted() {
  keep(DONE, session);
  $("count").textContent = session.n === 1 ? "1 vote" : `${session.n} votes`;
  $("progress").value = session.n % SESSION || (session.n ? SESSION : 0);
  $("undo").disabled = session.votes.length === 0;
}

// The end of a session

async function finish(data) {
  if (shown) shown.player.pause();
  $("voting").hidden = true;
  $("summary").hidden = false;
  const isOver = data.pair === null;
  $("go-on").hidden = data.why === "refused";
  $("go-on").textContent = isOver ? "Look for new videos" : "Continue voting";
  [$("summary-title").textContent, $("summary-lead").textContent] = isOver ? ENDS[data.why] : PAUSE_WORDS;
  $("summary-title").focus();
  await sent();
  const figures = await fetch(`/vote/session?n=${session.n}`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  $("summary-figures").replaceChildren(...(figures ? summary(figures) : []));
}

function sent() {
  return new Promise((done) => {
    const look = () => (pending.length ? setTimeout(look, 100) : done());
    look();
  });
}

function summary(figures) {
  const boxes = [["Votes in this session", figures.votes, `${figures.all_votes} in total`]];
  if (figures.median_s !== null) boxes.push(["Median time per vote", `${figures.median_s.toFixed(1)} s`, ""]);
  if (figures.repeats) boxes.push(["Pairs you saw twice", `${figures.repeats_same} of ${figures.repeats}`, "answered the same way"]);
  if (figures.shared) boxes.push(["Pairs also judged by others", `${figures.shared_same} of ${figures.shared}`, "answered the same way"]);
  return boxes.map(([title, value, more]) => {
    const box = document.createElement("div");
    box.className = "card figure";
    for (const [tag, text] of [["span", title], ["b", value], ["span", more]]) {
      const part = document.createElement(tag);
      part.textContent = text;
      if (tag === "span") part.className = "quiet small";
      box.append(part);
    }
    return box;
  });
}

function hideSummary() {
  $("summary").hidden = true;
  $("voting").hidden = false;
}

// Playing

function playing(is) {
  $("play").setAttribute("aria-pressed", String(is));
  $("play").firstChild.textContent = is ? "Pause" : "Play";
}

function togglePlay() {
  if (!shown) return;
  if (shown.player.wanted) shown.player.pause();
  else shown.player.play();
  playing(shown.player.wanted);
}

function step() {
  if (!shown) return;
  shown.player.step();
  playing(false);
}

function toggleSlow() {
  slow = !slow;
  $("slow").setAttribute("aria-pressed", String(slow));
  if (shown) shown.player.setSpeed(slow ? 0.25 : 1);
}

function everyPicture() {
  if (shown) {
    shown.player.keepInStep();
    if (document.activeElement !== $("where") || shown.player.wanted) {
      $("where").value = shown.player.length ? (1000 * shown.player.time) / shown.player.length : 0;
    }
  }
  requestAnimationFrame(everyPicture);
}

// First frame and prompts, on request

function close(id, button) {
  $(id).hidden = true;
  $(button).setAttribute("aria-expanded", "false");
}

function open(id, button) {
  $(id).hidden = false;
  $(button).setAttribute("aria-expanded", "true");
}

function firstFrame() {
  if (!shown) return;
  if (!$("first-frame").hidden) {
    close("first-frame", "start");
    return;
  }
  const source = document.createElement("video");
  source.muted = true;
  source.preload = "auto";
  source.src = shown.data.left.film;
  // A video that was never on the screen has a picture only after a seek.
  source.addEventListener("loadeddata", () => { source.currentTime = 0.25 / shown.data.left.fps; }, { once: true });
  source.addEventListener("seeked", () => {
    const canvas = $("first-canvas");
    canvas.width = source.videoWidth;
    canvas.height = source.videoHeight;
    canvas.getContext("2d").drawImage(source, 0, 0);
    open("first-frame", "start");
    source.removeAttribute("src");
    source.load();
  }, { once: true });
}

async function prompts() {
  if (!shown) return;
  if (!$("prompt-texts").hidden) {
    close("prompt-texts", "prompts");
    return;
  }
  const of = shown;
  const answer = await fetch(`/vote/prompts?pair=${encodeURIComponent(of.data.pair)}`).catch(() => null);
  if (!answer?.ok || of !== shown) return;
  const [left, right] = (await answer.json()).prompts;
  of.promptsRead = true;
  $("prompt-left").textContent = left;
  $("prompt-right").textContent = right;
  open("prompt-texts", "prompts");
}

// Messages

function say(text) {
  $("saved").textContent = text;
}

function notice(text) {
  if ($("notice").textContent === text) return;
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// Keys and clicks

document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key !== "f") return;
  if (event.ctrlKey || event.metaKey || event.altKey || !$("summary").hidden) return;
  const key = event.key.toLowerCase();
  if (key in KEYS) answer(KEYS[key]);
  else if (key === "u") undo();
  else if (key === " " && !(event.target instanceof HTMLButtonElement)) togglePlay();
  else if (key === "f") step();
  else if (key === "d") toggleSlow();
  else return;
  event.preventDefault();
});
// Otherwise the space bar would press the last clicked button again.
document.addEventListener("click", (event) => { if (event.detail > 0) document.activeElement?.blur(); });
for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", (event) => {
    if (event.detail < 2) answer(button.dataset.answer);
  });
}
$("undo").addEventListener("click", undo);
$("play").addEventListener("click", togglePlay);
$("frame").addEventListener("click", step);
$("slow").addEventListener("click", toggleSlow);
$("where").addEventListener("input", () => {
  if (!shown) return;
  shown.player.seekTo($("where").value / 1000);
  playing(false);
});
$("start").addEventListener("click", firstFrame);
$("prompts").addEventListener("click", prompts);
$("finish").addEventListener("click", () => finish({}));
$("go-on").addEventListener("click", () => {
  hideSummary();
  session = { n: 0, votes: [] };
  counted();
  if (shown && !shown.isAnswered) {
    shown.player.play();
    playing(true);
  } else next();
});
window.addEventListener("online", sendPending);
window.addEventListener("beforeunload", (event) => {
  if (pending.length) event.preventDefault();
});

// For measuring the drift between the two films, in seconds.
window.tribrain = {
  get drift() { return shown ? shown.player.drift : 0; },
  get fps() { return shown ? shown.player.fps : 0; },
  get plays() { return shown ? shown.player.plays : [0, 0]; },
};

counted();
sendPending();
requestAnimationFrame(everyPicture);
next();
