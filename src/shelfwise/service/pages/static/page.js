// What the page does beyond htmx: keeps the shelf in this browser, takes dropped files, follows the dials.
"use strict";

const KEY = "shelfwise.shelf";
const EMPTY = "[{},[]]";

function stored() {
  try {
    return localStorage.getItem(KEY) || "";
  } catch {
    return ""; // a browser may refuse storage
  }
}

function keep(text) {
  try {
    if (text === EMPTY) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, text);
  } catch {
    // then the shelf lives as long as the page
  }
}

function goTo(path) {
  const form = document.getElementById("said");
  const button = document.createElement("button");
  button.formAction = path;
  button.hidden = true;
  form.append(button);
  button.click();
  button.remove();
}

// A page that was asked for by its address knows no shelf: give it the one that is kept here.
function arrive() {
  const text = document.getElementById("shelf-text");
  const mine = stored();
  if (!text) return;
  if (text.value !== EMPTY) return keep(text.value);
  if (!mine || mine === EMPTY) return;
  for (const field of document.querySelectorAll("input[name=shelf]")) field.value = mine;
  const restore = document.getElementById("page").dataset.restore;
  if (restore) return goTo(restore);
  const again = document.getElementById("back-again");
  if (again) {
    again.hidden = false;
    document.getElementById("go-on").addEventListener("click", () => goTo("/next"));
  }
}

function takeFiles() {
  const drop = document.getElementById("drop");
  const file = document.getElementById("file");
  if (!drop || drop.dataset.ready) return;
  drop.dataset.ready = "yes";
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    file.files = event.dataTransfer.files;
    file.form.requestSubmit();
  });
  file.addEventListener("change", () => file.files.length && file.form.requestSubmit());
  file.form.addEventListener("submit", (event) => {
    const large = file.files.length && file.files[0].size > Number(file.dataset.most);
    document.getElementById("too-large").hidden = !large;
    if (!large) return;
    event.preventDefault(); // the server would refuse it only after it was sent
    event.stopImmediatePropagation();
  }, { capture: true });
}

// While a file is read: how far it is.
function followReading() {
  const ticket = document.getElementById("ticket");
  if (!ticket) return;
  const ask = async () => {
    if (!ticket.isConnected) return clearInterval(timer);
    const answer = await fetch(`/import/${ticket.value}`);
    const reading = document.getElementById("reading");
    if (answer.ok && reading) reading.textContent = await answer.text();
  };
  const timer = setInterval(() => ask().catch(() => {}), 400);
  ticket.form.addEventListener("htmx:afterRequest", () => clearInterval(timer), { once: true });
}

// Another tab has said something: this one goes on from there.
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  for (const field of document.querySelectorAll("input[name=shelf]")) field.value = event.newValue || EMPTY;
});

let tuneOpen = false;

document.addEventListener("change", (event) => {
  if (event.target.closest("#tune")) event.target.form.requestSubmit();
});

document.addEventListener("htmx:beforeSwap", () => {
  tuneOpen = Boolean(document.querySelector("#tune[open]"));
});

document.addEventListener("htmx:afterSwap", (event) => {
  document.getElementById("failed").hidden = true;
  const text = document.getElementById("shelf-text");
  if (text) keep(text.value);
  const tune = document.getElementById("tune");
  if (tune && tuneOpen) tune.open = true;
  takeFiles();
  const path = event.detail.pathInfo && event.detail.pathInfo.requestPath;
  if (path && path.split("?")[0] !== lastPath && event.detail.target.id === "page") {
    lastPath = path.split("?")[0];
    window.scrollTo(0, 0);
    document.getElementById("page").focus({ preventScroll: true });
  }
});

let lastPath = location.pathname;

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "import") followReading();
});

for (const kind of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(kind, () => {
    document.getElementById("failed").hidden = false;
  });
}

document.addEventListener("DOMContentLoaded", () => {
  takeFiles();
  arrive();
});
