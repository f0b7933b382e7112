// The pad on which one draws: white ink on black, as in MNIST.

import {toBase64} from "/service.js";

/** Width of a stroke, and way of the pen for a key, as parts of the pad's shorter side. */
const STROKE = 0.085;
const KEY_WAY = 0.04;
/** Shorter side of the drawing in pixels, whatever its size on the screen: ten for each of MNIST's. */
const SIDE = 280;
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

/** A drawing on a canvas; `changed` is called when a stroke has ended. */
export class Pad {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    // What is drawn, without the mark of the pen.
    this.ink = document.createElement("canvas");
    this.last = null;
    this.pen = null;
    this.penDown = false;
    canvas.addEventListener("pointerdown", event => this.begin(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => this.end());
    }
    canvas.addEventListener("keydown", event => this.key(event));
    canvas.addEventListener("blur", () => this.hidePen());
  }

  /** Take the proportions of a network's images. */
  fit(height, width) {
    const scale = SIDE / Math.min(height, width);
    for (const canvas of [this.canvas, this.ink]) {
      canvas.width = Math.min(1024, Math.round(width * scale));
      canvas.height = Math.min(1024, Math.round(height * scale));
    }
    this.clear();
  }

  clear() {
    const context = this.ink.getContext("2d", {willReadFrequently: true});
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.ink.width, this.ink.height);
    this.empty = true;
    this.penDown = false;
    this.show();
  }

  /** The drawing as the server takes it. */
  drawing() {
    const {width, height} = this.ink;
    const {data} = this.ink.getContext("2d").getImageData(0, 0, width, height);
    // Red stands for all three: ink is grey.
    return {kind: "drawing", height, width, pixels: toBase64(data.filter((_, index) => index % 4 === 0))};
  }

  get side() {
    return Math.min(this.ink.width, this.ink.height);
  }

  begin(event) {
    if (event.button !== 0 || !event.isPrimary) {
      return;
    }
    this.canvas.setPointerCapture(event.pointerId);
    this.pen = null;
    this.last = this.place(event);
    this.line(this.last);
  }

  move(event) {
    if (this.last === null) {
      return;
    }
    // A fast hand makes several movements between two pictures of the screen.
    const movements = event.getCoalescedEvents?.() ?? [];
    for (const movement of movements.length ? movements : [event]) {
      this.line(this.place(movement));
    }
  }

  end() {
    if (this.last !== null) {
      this.last = null;
      this.changed();
    }
  }

  key(event) {
    const arrow = ARROWS[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
      this.changed();
    } else if (event.key === " ") {
      this.pen ??= [this.ink.width / 2, this.ink.height / 2];
      this.penDown = !this.penDown;
      if (this.penDown) {
        this.last = this.pen;
        this.line(this.pen);
      } else {
        this.end();
      }
    } else if (arrow) {
      this.pen ??= [this.ink.width / 2, this.ink.height / 2];
      const limits = [this.ink.width, this.ink.height];
      this.pen = this.pen.map((at, axis) =>
        Math.min(Math.max(at + arrow[axis] * KEY_WAY * this.side, 0), limits[axis]));
      if (this.penDown) {
        this.line(this.pen);
      }
    } else {
      return;
    }
    event.preventDefault();
    this.show();
  }

  hidePen() {
    this.penDown = false;
    this.end();
    this.pen = null;
    this.show();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ink.width / box.width,
            (event.clientY - box.top) * this.ink.height / box.height];
  }

  line(place) {
    const context = this.ink.getContext("2d");
    context.lineWidth = STROKE * this.side;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = "#fff";
    context.beginPath();
    context.moveTo(...(this.last ?? place));
    // A stroke without length is a dot.
    context.lineTo(place[0] + 0.01, place[1]);
    context.stroke();
    this.last = place;
    this.empty = false;
    this.show();
  }

  show() {
    const context = this.canvas.getContext("2d");
    context.drawImage(this.ink, 0, 0);
    if (this.empty && this.pen === null) {
      context.fillStyle = "#8a979e";
      context.font = `${0.075 * this.side}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillText("draw here", this.ink.width / 2, this.ink.height / 2);
    }
    if (this.pen !== null) {
      context.lineWidth = 3;
      context.strokeStyle = this.penDown ? "#ff9a4d" : "#5fc4c9";
      context.beginPath();
      context.arc(...this.pen, STROKE * this.side / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
