// An animation of a file: watch it, cancel it, download the result.

import { request, sessionName } from "./api.js";
import { motion } from "./motion.js";
import { $, show, tell } from "./page.js";
import { portrait } from "./portrait.js";

const POLL = 400; // milliseconds

let current = null;
let isWanted = false; // until the user cancels

export async function animate({ head, expression, paste, panels }) {
  const form = new FormData();
  form.append("session", await sessionName());
  form.append("portrait_number", portrait.number);
  form.append("face", portrait.face);
  if (motion.kind === "motion") form.append("motion", motion.name);
  else form.append("driving_number", motion.driving);
  for (const [name, value] of Object.entries({ head, expression, paste, panels })) {
    form.append(name, value);
  }
  show($("preview"), false);
  $("progress").removeAttribute("value");
  $("progress-text").textContent = "Starting …";
  show($("rendering"));
  isWanted = true;
  try {
    current = await request("/api/animate", { method: "POST", body: form });
    if (!isWanted) await cancel();
    await watch();
  } finally {
    show($("rendering"), false);
    current = null;
  }
}

async function watch() {
  const place = `/api/sessions/${current.session}/jobs/${current.job}`;
  let shown = 0;
  for (;;) {
    const state = await request(place);
    if (state.state === "failed") throw new Error(state.error);
    if (state.state === "cancelled") return tell("The animation was cancelled.");
    if (state.state === "done") return finish(state);
    if (state.written > shown) {
      shown = state.written;
      $("preview").src = `${place}/preview.jpg?frame=${shown}`;
      show($("preview"));
    }
    describe(state);
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

function describe(state) {
  if (state.progress > 0) $("progress").value = state.progress;
  const left = state.seconds_left === null ? "" : `, about ${duration(state.seconds_left)} left`;
  $("progress-text").textContent = !isWanted
    ? "Stopping …"
    : state.state === "waiting"
      ? `Waiting: ${state.before} before you.`
      : state.written === 0
        ? "Reading the motion …"
        : `${state.written} of ${state.frames} frames${left}`;
}

function duration(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} minutes`;
}

function finish(state) {
  showResult(state.result, "result.mp4");
  const saved = $("download-motion");
  show(saved, state.motion !== null);
  if (state.motion) saved.href = state.motion;
  tell("Done.");
}

export function showResult(address, name) {
  const video = $("video");
  video.src = address;
  video.play().catch(() => {}); // with sound it may have to be started by hand
  Object.assign($("download"), { href: address, download: name });
  show($("download-motion"), false);
  show($("result"));
}

export async function cancel() {
  isWanted = false;
  if (current) {
    await request(`/api/sessions/${current.session}/jobs/${current.job}`, { method: "DELETE" });
  }
}
