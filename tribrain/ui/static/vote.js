// Voting: puts a pair on the stage, takes the answer, and sums up at the end of a session.

import { keep, restore } from "/static/kept.js";
import { Pairs } from "/static/pairs.js";
import { Pair } from "/static/player.js";
import { Outbox } from "/static/sending.js";

const $ = (id) => document.getElementById(id);
const SESSION = 20; // votes after which a break is suggested
const SETTLE_MS = 250; // the second click of a double click must not answer the next pair
const DONE = "tribrain.session";
const PAUSE_WORDS = ["Thank you", "Every vote improves the model. A short break keeps answers consistent."];
const ENDS = { // why there is no next pair: title and text
  no_pairs: ["Nothing to vote on yet", "New pairs appear as runs generate videos."],
  all_judged: ["You have judged every pair", "New pairs appear as runs generate videos."],
  held: ["Others are judging the last pairs", "Look again in a few minutes."],
  refused: ["No pair can be shown", "Reload the page to try again."],
};
const { annotator } = $("voting").dataset;
const KEYS = { 1: "left", 2: "right", t: "tie", b: "both_bad", s: "cannot_tell" };
const DIGITS = { Digit1: "1", Digit2: "2" }; // by their place, as some keyboards need Shift for digits

const pairs = new Pairs(JSON.parse($("voting").dataset.dimensions), (text) => notice("loading", text));
const outbox = new Outbox({ saving: () => say("Saving …"), waiting, accepted, refused });

let shown = null; // { data, player, at, promptsRead }
let scene = 0; // grows when a pair or the summary is to take the stage; whatever was to come before is void
let slow = false;
let refusals = 0;
let session = restore(DONE, newSession());
if (session.annotator !== annotator) session = newSession();

function newSession() {
  return { annotator, n: 0, votes: [] };
}

// What becomes of votes

function waiting(problem, count) {
  notice("saving", `${problem} ${count === 1 ? "Your vote is" : `${count} votes are`} kept in this tab and will be sent again.`);
}

function accepted(sent, said) {
  for (const vote of session.votes) if (vote.id === sent.vote_id) vote.id = said.vote_id;
  keep(DONE, session);
  notice("saving", said.place === "spool" ? "Kafka is unreachable. Votes are safe on the server's disk and are sent when it is back." : "");
  say("Saved");
  $("see-model").hidden = false;
}

function refused(sent, problem) {
  const left = session.votes.filter((vote) => vote.id !== sent.vote_id);
  session.n -= session.votes.length - left.length;
  session.votes = left;
  counted();
  refusals += 1;
  notice("saving", "");
  notice("refused", `${refusals === 1 ? "A vote was" : `${refusals} votes were`} refused: ${problem}`);
  say("Not saved");
}

// The stage

async function next() {
  const mine = ++scene;
  const before = shown;
  let data = await pairs.next(before === null);
  if (mine !== scene) return;
  pairs.take();
  if (data.pair === null && data.why !== "refused" && before) {
    // That answer came while another pair was on the stage.
    await outbox.emptied();
    data = await pairs.next(true);
    if (mine !== scene) return;
    pairs.take();
  }
  if (data.pair === null) {
    finish(data);
    return;
  }
  show(data);
  pairs.prepare();
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
  outbox.send(vote);
  if (session.n % SESSION === 0) finish({});
  else next();
}

function undo() {
  const last = session.votes.pop();
  if (!last) return;
  session.n -= 1;
  counted();
  outbox.send({ vote_id: newId(), pair: last.data.pair, answer: null, takes_back: last.id });
  say("Taken back");
  if (shown && !shown.isAnswered) pairs.putBack(plain(shown.data));
  hideSummary();
  scene += 1;
  show(last.data);
}

// The part of a pair that survives a reload: everything but the player.
function plain({ pair, goal, about, dimension, left, right }) {
  return { pair, goal, about, dimension, left, right };
}

// Works on insecure pages, too, where crypto.randomUUID is missing.
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function counted() {
  keep(DONE, session);
  $("count").textContent = session.n === 1 ? "1 vote" : `${session.n} votes`;
  $("progress").value = session.n % SESSION || (session.n ? SESSION : 0);
  $("undo").disabled = $("undo-last").disabled = session.votes.length === 0;
}

// The end of a session

async function finish(data) {
  const mine = ++scene;
  if (shown) shown.player.pause();
  $("voting").hidden = true;
  $("summary").hidden = false;
  const isOver = data.pair === null;
  $("go-on").hidden = data.why === "refused";
  $("go-on").textContent = isOver ? "Look for new videos" : "Continue voting";
  [$("summary-title").textContent, $("summary-lead").textContent] = isOver ? ENDS[data.why] : PAUSE_WORDS;
  $("summary-title").focus();
  await outbox.emptied();
  const figures = await fetch(`/vote/session?n=${session.n}`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  if (mine !== scene) return;
  $("summary-figures").replaceChildren(...(figures ? summary(figures) : []));
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
  const of = shown;
  const source = document.createElement("video");
  source.muted = true;
  source.preload = "auto";
  source.src = of.data.left.film;
  // A video that was never on the screen has a picture only after a seek.
  source.addEventListener("loadeddata", () => { source.currentTime = 0.25 / of.data.left.fps; }, { once: true });
  source.addEventListener("seeked", () => {
    if (of === shown) {
      const canvas = $("first-canvas");
      canvas.width = source.videoWidth;
      canvas.height = source.videoHeight;
      canvas.getContext("2d").drawImage(source, 0, 0);
      open("first-frame", "start");
    }
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

// Each matter has a place of its own, so that none hides another.
function notice(matter, text) {
  const place = $(`notice-${matter}`);
  if (place.textContent === text) return;
  place.textContent = text;
  place.hidden = !text;
}

// Keys and clicks

document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key !== "f") {
    // A key that is held would press its button again and again, or scroll the page.
    if (event.key === "Enter" || event.key === " ") event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = DIGITS[event.code] ?? event.key.toLowerCase();
  if (key === "u") undo();
  else if (!$("summary").hidden) return;
  else if (key in KEYS) answer(KEYS[key]);
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
$("undo-last").addEventListener("click", undo);
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
  session = newSession();
  counted();
  if (shown && !shown.isAnswered) {
    shown.player.play();
    playing(true);
  } else next();
});
window.addEventListener("online", () => outbox.sendAll());
window.addEventListener("beforeunload", (event) => {
  if (!outbox.isEmpty) event.preventDefault();
});

// For measuring the drift between the two films, in seconds.
window.tribrain = {
  get drift() { return shown ? shown.player.drift : 0; },
  get fps() { return shown ? shown.player.fps : 0; },
  get plays() { return shown ? shown.player.plays : [0, 0]; },
};

counted();
outbox.sendAll();
requestAnimationFrame(everyPicture);
next();
