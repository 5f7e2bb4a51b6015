// Join portrait, motion and options, and start what they ask for.

import { request } from "./api.js";
import { animate, cancel } from "./job.js";
import { choosePortrait, isLive, setNeutral, setStrength, startLive, stopLive, toggleRecording } from "./live.js";
import { motion, offerMotions, onMotion } from "./motion.js";
import { $, complain, guarded, percent, show, tell } from "./page.js";
import { onPortrait, portrait } from "./portrait.js";

let isBusy = false;
let cropsFaces = true;

function strength() {
  return { head: Number($("head").value), expression: Number($("expression").value) };
}

function lacking() {
  const lacks = portrait.number === null ? ["a portrait"] : [];
  const moves = { motion: motion.name, file: motion.driving, camera: "camera" };
  if (moves[motion.kind] === null) lacks.push("a motion");
  return lacks;
}

function refresh() {
  const focused = document.activeElement;
  const lacks = lacking();
  $("empty-text").textContent = lacks.length ? `Choose ${lacks.join(" and ")}.` : "Ready.";
  const again = $("result").hidden ? "" : " again";
  $("go").textContent = motion.kind === "camera" ? "Start the camera" : `Animate${again}`;
  $("go").classList.toggle("primary", !again);
  $("go").disabled = lacks.length > 0;
  show($("go"), !isBusy);
  show($("stop"), isBusy);
  if (focused === $("go") && isBusy) $("stop").focus();
  if (focused === $("stop") && !isBusy) $("go").focus();
  for (const id of ["neutral", "record"]) show($(id), isLive());
  show($("file-options"), motion.kind !== "camera");
  const canPaste = cropsFaces && portrait.faces.length > 0;
  $("paste").disabled = !canPaste || $("panels").checked;
  $("panels").disabled = $("paste").checked && canPaste;
  show($("empty"), !isBusy && $("result").hidden);
}

const go = guarded(async () => {
  isBusy = true;
  show($("result"), false);
  tell();
  refresh();
  try {
    if (motion.kind === "camera") {
      await startLive(strength(), () => {
        isBusy = false;
        tell();
        refresh();
      });
    } else {
      const paste = $("paste").checked && !$("paste").disabled;
      const panels = $("panels").checked && !$("panels").disabled;
      await animate({ ...strength(), paste, panels });
    }
  } finally {
    isBusy = isLive();
    refresh();
  }
});

$("go").addEventListener("click", go);
$("stop").addEventListener("click", guarded(async () => {
  stopLive();
  await cancel();
}));
$("neutral").addEventListener("click", setNeutral);
$("record").addEventListener("click", toggleRecording);

for (const id of ["head", "expression"]) {
  $(id).addEventListener("input", () => {
    $(`${id}-value`).textContent = percent($(id).value);
    $(id).setAttribute("aria-valuetext", percent($(id).value));
    if (isLive()) setStrength(strength());
  });
}
for (const id of ["paste", "panels"]) $(id).addEventListener("change", refresh);

onPortrait(() => {
  if (isLive()) choosePortrait(strength());
  refresh();
});
onMotion(() => {
  if (motion.kind !== "camera") stopLive();
  refresh();
});

request("/api/info").then((info) => {
  offerMotions(info.motions);
  cropsFaces = info.crops_faces;
  $("network").textContent = `${info.network}, on ${info.device}`;
  show($("expression-row"), info.expression);
  refresh();
}, (error) => complain(error.message));
refresh();
