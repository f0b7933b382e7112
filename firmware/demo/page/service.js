// Requests to the server of the demonstration.

const UNAVAILABLE = 503;

/** An error whose message is one line for people; `passing` if the same request may succeed later. */
export class ServiceError extends Error {
  constructor(line, passing = false) {
    super(line);
    this.passing = passing;
  }
}

async function answerOf(response) {
  let content = null;
  try {
    content = await response.json();
  } catch {
    // What is no JSON has no line of its own.
  }
  if (response.ok && content !== null) {
    return content;
  }
  throw new ServiceError(content?.error ?? `the server answers with status ${response.status}`,
                         response.status === UNAVAILABLE);
}

async function send(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new ServiceError("the demonstration has ended: start it again with python -m firmware.demo, and reload the page");
  }
  return answerOf(response);
}

/** Where the board is, and what networks it has. */
export function askBoard() {
  return send("/api/board");
}

/** Let board and reference compute an input of a network, which its hash names. */
export function classify(network, input) {
  return send("/api/classify", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({network, input}),
  });
}

/** The bytes of an array or a buffer in base64. */
export function toBase64(bytes) {
  const array = new Uint8Array(bytes);
  let text = "";
  // A call takes a limited number of arguments.
  for (let begin = 0; begin < array.length; begin += 0x8000) {
    text += String.fromCharCode(...array.subarray(begin, begin + 0x8000));
  }
  return btoa(text);
}

/** The bytes of a text in base64. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
}
