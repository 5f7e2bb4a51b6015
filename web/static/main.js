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

function isReady() {
  if (portrait.number === null) return false;
  if (motion.kind === "motion") return motion.name !== null;
  return motion.kind === "camera" || motion.driving !== null;
}

function refresh() {
  const live = isLive();
  const wants = portrait.number === null ? "a portrait" : "";
  const and = wants && motion.kind !== "camera" && !isReady() ? " and " : "";
  const lacksMotion = motion.kind !== "camera" && (motion.kind === "motion" ? motion.name : motion.driving) === null;
  $("empty-text").textContent = isReady()
    ? "Ready."
    : `Choose ${wants}${lacksMotion ? `${and}a motion` : ""}.`;
  const again = $("result").hidden ? "" : " again";
  $("go").textContent = motion.kind === "camera" ? "Start the camera" : `Animate${again}`;
  $("go").classList.toggle("primary", !again);
  $("go").disabled = isBusy || !isReady();
  show($("go"), !isBusy);
  show($("stop"), isBusy);
  for (const id of ["neutral", "record"]) show($(id), live);
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
    if (isBusy) $("stop").focus();
  }
});

$("go").addEventListener("click", go);
$("stop").addEventListener("click", guarded(async () => {
  if (isLive()) stopLive();
  else await cancel();
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
  if (isLive() && motion.kind !== "camera") stopLive();
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
