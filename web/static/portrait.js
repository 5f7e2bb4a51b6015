// The portrait: drop, choose, paste or photograph one, and click the face that is to move.

import { inSession, request, upload } from "./api.js";
import { $, acceptFiles, closeCamera, guarded, openCamera, show, tell } from "./page.js";

export const portrait = { number: null, face: 0, faces: [] };

let changed = () => {};

export function onPortrait(action) {
  changed = action;
}

const accept = guarded(async (ask) => {
  tell("Looking for faces …");
  try {
    const found = await ask();
    Object.assign(portrait, { number: found.portrait, faces: found.faces, face: 0 });
    $("portrait-picture").src = await inSession(`/portraits/${found.portrait}.jpg`);
    show($("portrait"));
    drawFaces();
    await showCut();
    changed();
  } finally {
    tell();
  }
});

function take(file) {
  accept(() => upload("/portraits", file));
}

function drawFaces() {
  const frame = $("faces");
  for (const old of frame.querySelectorAll("button")) old.remove();
  portrait.faces.forEach((box, index) => {
    const face = document.createElement("button");
    face.type = "button";
    face.className = "face";
    face.setAttribute("aria-label", `Face ${index + 1} of ${portrait.faces.length}`);
    for (const side of ["left", "top", "width", "height"]) face.style[side] = `${100 * box[side]}%`;
    face.addEventListener("click", guarded(async () => {
      portrait.face = index;
      markFace();
      await showCut();
      changed();
    }));
    frame.append(face);
  });
  markFace();
}

function markFace() {
  const faces = [...$("faces").querySelectorAll("button")];
  faces.forEach((face, index) => face.setAttribute("aria-pressed", String(index === portrait.face)));
  const count = faces.length;
  $("faces-text").textContent =
    count === 0
      ? "No face was found: the whole picture will move."
      : count === 1
        ? "One face was found."
        : `${count} faces were found: choose the one that is to move.`;
}

async function showCut() {
  const cut = $("cut");
  cut.src = await inSession(`/portraits/${portrait.number}/cut.jpg?face=${portrait.face}`);
  await cut.decode().catch(() => {});
}

acceptFiles($("drop"), $("portrait-file"), take);

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) take(file);
});

$("example").addEventListener("click", () => {
  accept(async () => request(await inSession("/example"), { method: "POST" }));
});

const dialog = $("photo-dialog");

let isOpening = false;

$("photograph").addEventListener("click", guarded(async () => {
  if (isOpening) return;
  isOpening = true;
  try {
    await openCamera($("photo-video"));
    dialog.showModal();
  } finally {
    isOpening = false;
  }
}));

$("shoot").addEventListener("click", () => {
  const video = $("photo-video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  dialog.close();
  canvas.toBlob((blob) => take(new File([blob], "photo.jpg")), "image/jpeg", 0.95);
});

$("photo-cancel").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => closeCamera($("photo-video")));
