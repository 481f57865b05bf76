// Live updates: one event stream per page, and none while the tab is hidden.

let source = null;
let known = document.body.dataset.news; // the state that is shown; anything else is new
let isRenewing = false;
let isLate = false; // whether news arrived during an update
let restsUntil = 0;
const TRY_AGAIN_MS = 3000;
const PAUSE_MS = 200; // least pause after an update
const PAUSE_TIMES = 4; // least pause as a multiple of the update's duration, so that slow pages are not rendered all the time

function listen() {
  if (source || document.hidden) return;
  source = new EventSource("/live");
  source.addEventListener("open", () => say(""));
  source.addEventListener("message", (event) => {
    if (known !== event.data) soon();
  });
  source.addEventListener("error", () => {
    say("The server does not answer, so this page may be out of date. It tries again.");
    if (source.readyState !== EventSource.CLOSED) return; // the browser itself tries again
    rest();
    setTimeout(listen, TRY_AGAIN_MS);
  });
}

function say(text) {
  document.getElementById("not-live").textContent = text;
}

function rest() {
  source?.close();
  source = null;
}

async function soon() {
  if (isRenewing) {
    isLate = true;
    return;
  }
  isRenewing = true;
  await new Promise((done) => setTimeout(done, Math.max(0, restsUntil - performance.now())));
  isLate = false;
  const begun = performance.now();
  await renew();
  const ended = performance.now();
  restsUntil = ended + Math.max(PAUSE_MS, PAUSE_TIMES * (ended - begun));
  isRenewing = false;
  if (isLate) soon();
}

async function renew() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  known = fresh.body.dataset.news;
  const parts = [...document.querySelectorAll("[data-live]")];
  const others = parts.map((part) => fresh.getElementById(part.id));
  if (!others.every(Boolean)) return location.reload(); // the page's structure has changed, for example with the first model
  parts.forEach((part, i) => {
    keepOpen(part, others[i]);
    merge(part, others[i]);
  });
  document.dispatchEvent(new Event("renewed"));
}

// Details that the reader has opened stay open.
function keepOpen(part, other) {
  const before = [...part.querySelectorAll("details")];
  [...other.querySelectorAll("details")].forEach((each, i) => { each.open = before[i]?.open ?? each.open; });
}

// Keep unchanged children, so that no video restarts and no focus is lost.
function merge(part, other) {
  const old = new Map([...part.children].map((child) => [child.id, child]));
  const wanted = [...other.children].map((child) => {
    const there = child.id && old.get(child.id);
    return there && there.isEqualNode(child) ? there : document.adoptNode(child);
  });
  if (wanted.length !== part.children.length || wanted.some((child, i) => child !== part.children[i])) part.replaceChildren(...wanted);
}

// A card's video plays while the pointer is over the card.
for (const [name, act] of [["pointerover", (film) => film.play().catch(() => {})], ["pointerout", (film) => { film.pause(); film.currentTime = 0; }]]) {
  document.addEventListener(name, (event) => {
    const card = event.target.closest?.(".run");
    if (!card || card.contains(event.relatedTarget)) return;
    const film = card.querySelector("video[data-glance]");
    if (film) act(film);
  });
}

// Replace a video that cannot be shown with the reason.
async function explain(film) {
  const answer = await fetch(film.src).catch(() => null);
  const said = answer && !answer.ok ? await answer.json().catch(() => ({})) : {};
  const text = document.createElement("p");
  text.className = "quiet small";
  text.textContent = said.error ?? "The video cannot be shown.";
  film.replaceWith(text);
}
document.addEventListener("error", (event) => { if (event.target instanceof HTMLVideoElement) explain(event.target); }, true);
for (const film of document.querySelectorAll("video")) if (film.error) explain(film);

document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
window.addEventListener("pagehide", rest);
listen();
