// The motion: one of the project's, an uploaded video or motion file, or the camera.

import { upload } from "./api.js";
import { $, acceptFiles, guarded, show } from "./page.js";

const TITLES = { talking: "Talking", nodding: "Nodding", expressions: "Expressions" };

export const motion = { kind: "motion", name: null, driving: null };

let changed = () => {};

export function onMotion(action) {
  changed = action;
}

export function offerMotions(names) {
  const list = $("motions");
  show($("no-motions"), names.length === 0);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const name of names) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "motion", value: name });
    input.addEventListener("change", () => {
      motion.name = name;
      changed();
    });
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = `/api/motions/${name}.webp`;
    if (calm) picture.addEventListener("load", () => freeze(picture), { once: true });
    label.append(input, picture, TITLES[name] ?? name);
    list.append(label);
  }
}

// Show the first frame alone to people who want no motion.
function freeze(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  canvas.toBlob((blob) => {
    picture.src = URL.createObjectURL(blob);
  });
}

for (const input of document.querySelectorAll("input[name=kind]")) {
  input.addEventListener("change", () => {
    motion.kind = input.value;
    for (const kind of ["motion", "file", "camera"]) show($(`kind-${kind}`), kind === motion.kind);
    changed();
  });
}

acceptFiles($("drop-video"), $("video-file"), guarded(async (file) => {
  const bar = $("upload");
  motion.driving = null;
  changed();
  bar.value = 0;
  show(bar);
  $("video-text").textContent = `Uploading ${file.name} …`;
  try {
    const found = await upload("/drivings", file, (done) => {
      bar.value = done;
      if (done === 1) $("video-text").textContent = `Checking ${file.name} …`;
    });
    motion.driving = found.driving;
    const sound = found.sound ? "with sound" : "without sound";
    $("video-text").textContent = found.kind === "video"
      ? `${file.name}: ${found.seconds.toFixed(1)} s, ${sound}`
      : `${file.name}: a saved motion of ${found.seconds.toFixed(1)} s`;
  } catch (error) {
    $("video-text").textContent = "Drop a video of a talking face here, or a saved motion (.npz)";
    throw error;
  } finally {
    show(bar, false);
    changed();
  }
}));
