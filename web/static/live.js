// The camera, live: its frames go out with a time stamp, at most two are under way, and the newest
// one is sent when one comes back.  So the delay never grows.

import { LOST, sessionName } from "./api.js";
import { showResult } from "./job.js";
import { $, closeCamera, complain, openCamera, show, tell } from "./page.js";
import { portrait } from "./portrait.js";

const MOST_UNDER_WAY = 2;
const SIDE = 480; // pixels of the longer side of what is sent
const QUALITY = 0.85;
const WINDOW = 2000; // milliseconds, over which figures are averaged
const STAMP = 8; // bytes before a JPEG

let socket = null;
let ended = () => {};
let isWanted = false; // until the user stops
const underWay = new Set();
const answers = []; // [time, delay] of the last ones
let isEncoding = false;
let lastSent = -1;
let lastDrawn = -1;

const camera = $("camera");
const canvas = $("canvas");
const picture = document.createElement("canvas");

export async function startLive(strength, onEnd) {
  isWanted = true;
  let opened = null;
  try {
    await openCamera(camera);
    opened = await connect(await sessionName());
  } finally {
    if (!opened || !isWanted) closeCamera(camera);
  }
  if (!isWanted) {
    opened.close();
    return;
  }
  socket = opened;
  ended = onEnd;
  underWay.clear();
  answers.length = 0;
  lastDrawn = -1;
  choosePortrait(strength);
  show($("live"));
  show($("figures"));
  show($("lost"), false);
  tell("Look straight at the camera, with a calm face.");
  nextFrame();
}

function connect(session) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const opened = new WebSocket(`${scheme}://${location.host}/api/live?session=${session}`);
  opened.binaryType = "arraybuffer";
  opened.addEventListener("message", (event) => {
    if (opened === socket) receive(event);
  });
  opened.addEventListener("close", () => {
    if (opened === socket) fail(LOST);
  });
  return new Promise((resolve, reject) => {
    opened.addEventListener("open", () => resolve(opened));
    opened.addEventListener("error", () =>
      reject(new Error("The server takes no live animation now: try again in a while.")));
  });
}

export function isLive() {
  return socket !== null;
}

export function stopLive() {
  isWanted = false;
  if (isRecording()) toggleRecording(); // the answer ends it
  else if (socket) end();
}

function end() {
  const closing = socket;
  socket = null;
  closing.close();
  closeCamera(camera);
  for (const id of ["live", "figures"]) show($(id), false);
  markRecording(false);
  ended();
}

function fail(sentence) {
  end();
  complain(sentence);
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

export function choosePortrait(strength) {
  send({ type: "start", portrait: portrait.number, face: portrait.face, ...strength });
}

export function setStrength(strength) {
  send({ type: "strength", ...strength });
}

export function setNeutral() {
  send({ type: "neutral" });
  $("neutral").classList.remove("suggested");
  tell("This pose is neutral now.");
}

function isRecording() {
  return $("record").getAttribute("aria-pressed") === "true";
}

function markRecording(records) {
  $("record").setAttribute("aria-pressed", String(records));
  $("record").textContent = records ? "Stop recording" : "Record";
}

export function toggleRecording() {
  const begins = !isRecording();
  markRecording(begins);
  if (begins) show($("result"), false);
  tell(begins ? "Recording what the portrait does." : "");
  send({ type: begins ? "record" : "stop" });
}

function nextFrame() {
  if (!socket) return;
  if (camera.requestVideoFrameCallback) camera.requestVideoFrameCallback(film);
  else setTimeout(film, 33);
}

function film() {
  if (!socket) return;
  const time = performance.now();
  if (!isEncoding && underWay.size < MOST_UNDER_WAY && camera.videoWidth && time > lastSent) {
    sendPicture(time);
  }
  nextFrame();
}

function sendPicture(time) {
  isEncoding = true;
  lastSent = time;
  const scale = Math.min(SIDE / Math.max(camera.videoWidth, camera.videoHeight), 1);
  picture.width = Math.round(camera.videoWidth * scale);
  picture.height = Math.round(camera.videoHeight * scale);
  const context = picture.getContext("2d");
  const mirrored = $("mirror").checked;
  camera.classList.toggle("mirrored", mirrored);
  if (mirrored) {
    context.translate(picture.width, 0);
    context.scale(-1, 1);
  }
  context.drawImage(camera, 0, 0, picture.width, picture.height);
  picture.toBlob(async (blob) => {
    const jpeg = await blob.arrayBuffer();
    isEncoding = false;
    if (socket?.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(STAMP + jpeg.byteLength);
    new DataView(message.buffer).setFloat64(0, time);
    message.set(new Uint8Array(jpeg), STAMP);
    underWay.add(time);
    socket.send(message);
  }, "image/jpeg", QUALITY);
}

// An answer settles all frames up to its time.
function settle(time) {
  for (const each of underWay) if (each <= time) underWay.delete(each);
}

async function receive(event) {
  if (typeof event.data === "string") {
    hear(JSON.parse(event.data));
    return;
  }
  const time = new DataView(event.data).getFloat64(0);
  settle(time);
  const bitmap = await createImageBitmap(new Blob([event.data.slice(STAMP)], { type: "image/jpeg" }));
  if (time < lastDrawn) return;
  lastDrawn = time;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  canvas.dataset.time = time;
  seen(true);
  measure(time);
}

function hear(message) {
  if (message.type === "error") fail(message.error);
  if (message.type === "face") {
    settle(message.time);
    seen(false);
  }
  if (message.type === "still") {
    $("neutral").classList.add("suggested");
    tell("You hold still: set this as the neutral pose?");
  }
  if (message.type === "recorded") {
    markRecording(false);
    if (message.url) showResult(message.url, "live.mp4");
    if (!isWanted) end();
    if (!message.url) tell("Nothing was recorded: no face was seen.");
  }
}

function seen(isSeen) {
  show($("lost"), !isSeen);
  canvas.classList.toggle("held", !isSeen);
}

function measure(time) {
  const now = performance.now();
  answers.push([now, now - time]);
  while (answers[0][0] < now - WINDOW) answers.shift();
  const delays = answers.map(([, delay]) => delay).sort((one, other) => one - other);
  const span = now - answers[0][0];
  $("rate").textContent = span > 0 ? ((1000 * (answers.length - 1)) / span).toFixed(1) : "0";
  $("delay").textContent = Math.round(delays[delays.length >> 1]);
}
