// The page: what the user does becomes an input, the server's answer becomes a result.

import {Pad} from "/pad.js";
import {showAnswer, showFacts} from "/results.js";
import {ServiceError, askBoard, classify, toBase64} from "/service.js";

const element = id => document.getElementById(id);
const POLL_MS = 500;
const MAX_FILE_BYTES = 16 * 2 ** 20;

const state = {
  board: null,
  model: null,
  /** The file whose images are shown; null for the samples. */
  file: null,
  index: 0,
  count: 0,
  /** The input that was computed last, and the newest one that waits for it. */
  last: null,
  waiting: null,
  computing: false,
  answer: null,
};

const pad = new Pad(element("pad"), () => {
  if (pad.empty) {
    return;
  }
  submit({...pad.drawing(), rule: element("fit").checked ? "mnist" : "as drawn"});
});

/** Show an error instead of the answer, or the answer if the line is null. */
function showError(line, passing = false) {
  element("error-text").textContent = line ?? "";
  element("error").hidden = line === null;
  element("retry").hidden = !passing;
  element("answer").hidden = line !== null || state.answer === null;
  element("spikes").hidden = element("answer").hidden;
  element("empty").hidden = line !== null || state.answer !== null;
}

function showStatus(name, text) {
  element("status").dataset.state = name;
  element("status").textContent = text;
}

/** Compute an input; while another is computed, only the newest one waits. */
async function submit(input) {
  state.waiting = input;
  if (state.computing) {
    return;
  }
  state.computing = true;
  element("busy").hidden = false;
  while (state.waiting !== null) {
    const next = state.waiting;
    const model = state.model;
    state.waiting = null;
    state.last = next;
    try {
      const answer = await classify(model.network, next);
      // Another model may have been chosen meanwhile.
      if (model === state.model && state.waiting === null) {
        taken(answer, next);
      }
    } catch (error) {
      if (!(error instanceof ServiceError)) {
        throw error;
      }
      showError(error.message, error.passing);
      await refresh();
    }
  }
  state.computing = false;
  element("busy").hidden = true;
}

function taken(answer, input) {
  state.answer = answer;
  state.board.counters = answer.counters;
  if (input.kind !== "drawing") {
    ({index: state.index, count: state.count} = answer.input);
  }
  showAnswer(answer, state.model, engineName());
  showFacts(state.board, state.model, answer.repeated);
  showReady();
  showError(null);
}

function engineName() {
  return state.board.engine;
}

function isSimulated() {
  return state.board.engine.startsWith("simulated");
}

function showReady() {
  showStatus("ready", isSimulated() ? engineName() : `${engineName()}, ${state.board.port}`);
}

/** Ask where the board is; what the user sees of it stays. */
async function refresh() {
  try {
    state.board = {...state.board, ...await askBoard()};
    if (state.board.state === "ready") {
      showReady();
    } else {
      showStatus(state.board.state, state.board.state === "lost" ? "the board does not answer" : state.board.text);
    }
  } catch (error) {
    showStatus("ended", "ended");
  }
}

function submitImage(index) {
  state.index = index;
  if (state.file !== null) {
    submit({kind: "file", name: state.file.name, content: state.file.content, index});
  } else if (state.model.samples > 0) {
    submit({kind: "sample", index});
  }
}

function leaveFile() {
  state.file = null;
  state.index = 0;
  state.count = state.model.samples;
  showSource();
}

/** Name what the arrows go through: the samples, or the images of a file. */
function showSource() {
  element("samples-title").textContent = state.file === null ? "Sample" : state.file.name;
  element("samples").hidden = state.file === null && state.model.samples === 0;
  element("back").hidden = state.file === null || state.model.samples === 0;
}

async function takeFile(file) {
  if (file.size > MAX_FILE_BYTES) {
    showError(`${file.name}: file must have at most 16 MiB, not ${(file.size / 2 ** 20).toFixed(1)} MiB`);
    return;
  }
  let content;
  try {
    content = toBase64(await file.arrayBuffer());
  } catch {
    showError(`${file.name}: must be a file that can be read, not a folder`);
    return;
  }
  state.file = {name: file.name, content};
  state.count = 1;
  pad.clear();
  showSource();
  submitImage(0);
}

function describeInput(model) {
  const size = `${model.height} x ${model.width}`;
  const pictures = model.channels === 1 ? `a PNG of ${size} in 8-bit grey, or `
    : model.channels === 3 ? `a PNG of ${size} in 8-bit RGB, or ` : "";
  return `or drop one here: ${pictures}idx, npy or npz with images of ${model.channels} x ${size}. Nothing is resized.`;
}

function choose(model) {
  state.model = model;
  state.answer = state.last = null;
  element("model").value = model.network;
  element("drawing").hidden = !model.drawing;
  element("no-drawing").hidden = model.drawing;
  element("file-hint").textContent = describeInput(model);
  pad.fit(model.height, model.width);
  leaveFile();
  showFacts(state.board, model, 0);
  showError(null);
  submitImage(0);
}

function showModels() {
  const {models} = state.board;
  element("model").replaceChildren(...models.map(model => {
    const option = document.createElement("option");
    option.value = model.network ?? "";
    option.disabled = model.refused !== null;
    const number = model.number === null ? "" : `${model.number}: `;
    option.textContent = `${number}${model.name ?? "a model"}${model.refused === null ? "" : " (not served)"}`;
    return option;
  }));
  element("model-choice").hidden = models.length < 2;
  const refused = models.filter(model => model.refused !== null);
  element("not-served").hidden = refused.length === 0;
  element("not-served").textContent =
    refused.map(model => `${model.name ?? `Model ${model.number}`} is not served: ${model.refused}.`).join(" ");
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function start() {
  element("starting").hidden = true;
  for (const id of ["input", "results", "facts"]) {
    element(id).hidden = false;
  }
  for (const id of ["board-title", "board-column"]) {
    element(id).textContent = isSimulated() ? "Simulated RTL" : capital(engineName());
  }
  showReady();
  showModels();
  const served = state.board.models.filter(model => model.refused === null);
  const selected = served.find(model => model.network === state.board.selected) ?? served[0];
  if (selected) {
    choose(selected);
    return;
  }
  for (const id of ["drawing", "samples", "drop", "facts", "empty"]) {
    element(id).hidden = true;
  }
}

function showStart(text, seconds, hint) {
  // A text that is set anew is read aloud anew.
  for (const [id, line] of [["starting-text", text], ["starting-seconds", seconds], ["starting-hint", hint]]) {
    if (element(id).textContent !== line) {
      element(id).textContent = line;
    }
  }
}

/** Wait for the board, and say what it is waited for. */
async function wait() {
  try {
    state.board = await askBoard();
  } catch (error) {
    showStatus("ended", "ended");
    showStart(error.message, "", "The terminal says why it ended.");
    element("starting").classList.add("ended");
    return;
  }
  const {state: name, text, seconds, engine} = state.board;
  if (name === "ready" || name === "lost") {
    start();
    return;
  }
  showStatus(name, engine);
  showStart(text, seconds < 2 ? "" : `for ${seconds.toFixed(0)} s`, text.startsWith("compiling")
    ? "The circuit is compiled once, which takes one to three minutes; later it starts in seconds." : "");
  setTimeout(wait, POLL_MS);
}

element("retry").addEventListener("click", () => submit(state.last));
element("clear").addEventListener("click", () => {
  pad.clear();
  element("pad").focus();
});
element("fit").addEventListener("change", () => pad.changed());
element("model").addEventListener("change", event =>
  choose(state.board.models.find(model => model.network === event.target.value)));

function step(to) {
  pad.clear();
  submitImage((to + state.count) % state.count);
}

element("next").addEventListener("click", () => step(state.index + 1));
element("previous").addEventListener("click", () => step(state.index - 1));
element("random").addEventListener("click", () =>
  step(state.index + 1 + Math.floor(Math.random() * Math.max(1, state.count - 1))));
element("back").addEventListener("click", () => {
  leaveFile();
  submitImage(0);
});
element("file").addEventListener("change", event => {
  const [file] = event.target.files;
  if (file) {
    takeFile(file);
  }
  // So that the same file can be chosen again when it was changed.
  event.target.value = "";
});

// The whole page takes a file: what misses the field would replace the page.
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    element("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", event => {
  if (event.relatedTarget === null) {
    element("drop").classList.remove("over");
  }
});
document.addEventListener("drop", event => {
  event.preventDefault();
  element("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file && state.model !== null) {
    takeFile(file);
  }
});

// Pictures of spikes have the colours of the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (state.answer !== null) {
    showAnswer(state.answer, state.model, engineName());
  }
});

wait();
