// What board and reference computed, side by side.

import {drawImage, layerBlock} from "/pictures.js";

const element = id => document.getElementById(id);
const number = value => value.toLocaleString("en");

function fill(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function showClass(target, index, names) {
  target.textContent = names[index];
  target.classList.toggle("word", names[index].length > 3);
}

function showVerdict({board, differences}, engine) {
  const verdict = element("verdict");
  verdict.classList.toggle("bad", differences.length > 0);
  const count = board.scores.length;
  const more = differences.length > 3 ? ` and ${differences.length - 3} more` : "";
  verdict.textContent = differences.length === 0
    ? `✓ Equal: the class and all ${count} scores of ${engine} and reference`
    : `✗ Different: ${differences.slice(0, 3).join("; ")}${more}`;
}

function bar(value, least, most, kind) {
  const outer = document.createElement("span");
  const inner = document.createElement("i");
  outer.className = `bar ${kind}`;
  const range = Math.max(most - least, 1);
  inner.style.left = `${100 * (Math.min(value, 0) - least) / range}%`;
  inner.style.width = `${100 * Math.abs(value) / range}%`;
  outer.append(inner);
  outer.setAttribute("aria-hidden", "true");
  return outer;
}

function cell(content, className) {
  const made = document.createElement("td");
  made.className = className;
  made.append(content);
  return made;
}

function showScores({board, reference}, names) {
  const all = [...board.scores, ...reference.scores, 0];
  const least = Math.min(...all);
  const most = Math.max(...all);
  element("scores").replaceChildren(...board.scores.map((score, index) => {
    const expected = reference.scores[index];
    const row = document.createElement("tr");
    row.classList.toggle("different", score !== expected);
    row.classList.toggle("winner", index === board.class);
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = names[index];
    const mark = document.createElement("span");
    mark.textContent = score === expected ? "=" : "≠";
    mark.setAttribute("aria-label", score === expected ? "equal" : "different");
    mark.setAttribute("role", "img");
    row.append(head, cell(number(score), "score"), cell(bar(score, least, most, "board"), "bars"),
               cell(number(expected), "score"), cell(bar(expected, least, most, "reference"), "bars"),
               cell(mark, "mark"));
    return row;
  }));
}

function showInput(input, names) {
  const canvas = element("image");
  drawImage(canvas, input);
  const place = input.count > 1 ? ` ${input.index + 1} of ${input.count}` : "";
  const label = input.label === null ? "" : `, labelled ${names[input.label]}`;
  element("image-title").textContent = `${input.title}${place}${label}`;
  canvas.setAttribute("aria-label", `Image of ${input.height} x ${input.width} pixels: ${input.title}${place}${label}`);
}

/** Show an answer of the server to an input of a model. */
export function showAnswer(answer, model, engine) {
  const names = model.class_names;
  const {board, reference, input} = answer;
  showVerdict(answer, engine);
  showInput(input, names);
  showClass(element("board-class"), board.class, names);
  showClass(element("reference-class"), reference.class, names);
  fill(element("board-facts"), [
    ["clocks", number(board.cycles)],
    ["time", `${board.milliseconds.toFixed(3)} ms at ${number(model.clock_khz / 1000)} MHz`],
    ["stalls", `${number(board.stalls)} for pixels, ${number(board.flash_stalls)} for the flash`],
  ]);
  fill(element("reference-facts"), [
    ["clocks", "none: software"],
    ["file", model.file],
  ]);
  showScores(answer, names);
  element("layers").replaceChildren(...answer.layers.map(layerBlock));
}

/** Show what runs, and how the line is. */
export function showFacts(board, model, repeated) {
  const {bad_frames, overruns, aborted_frames} = board.counters;
  const facts = [
    ["network", model.name || "without a name"],
    ["sha256", `${model.network}…`],
    ["input", `${model.channels} x ${model.height} x ${model.width} ${model.encoding}`],
    ["classes, timesteps", `${model.classes}, ${model.timesteps}`],
    ["circuit", `${model.lanes} channels x ${model.synapses} synapses x ${model.circuit_timesteps} timesteps per clock`],
    ["clock", `${number(model.clock_khz / 1000)} MHz`],
    ["port", board.port],
    ["faults of the line", `${bad_frames} bad frames, ${overruns} overruns, ${aborted_frames} aborted`],
    ["requests repeated", number(repeated)],
  ];
  element("facts-list").replaceChildren(...facts.map(([name, value]) => {
    const group = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    group.append(term, text);
    return group;
  }));
}
