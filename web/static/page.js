// Elements of the page, and what it says.

export const $ = (id) => document.getElementById(id);

export function show(element, visible = true) {
  element.hidden = !visible;
}

export function complain(sentence) {
  const message = $("message");
  message.textContent = sentence ?? "";
  show(message, Boolean(sentence));
}

export function tell(sentence) {
  $("tip").textContent = sentence ?? "";
}

// Run what a click asks for, and say in one sentence why it failed.
export function guarded(action) {
  return async (...args) => {
    complain();
    try {
      await action(...args);
    } catch (error) {
      complain(error.message);
    }
  };
}

export function percent(value) {
  return `${Math.round(100 * value)} %`;
}

// Let files be dropped on an element, and chosen by its input.
export function acceptFiles(zone, input, take) {
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    zone.addEventListener(kind, () => zone.classList.remove("over"));
  }
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
}

// A file that misses its place would open in place of the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(
      "This browser gives no camera to this page: open it as 127.0.0.1 or by https, or upload a file.",
    );
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
    });
  } catch (error) {
    throw new Error(
      error.name === "NotAllowedError"
        ? "The camera was not allowed: allow it for this page, and try again."
        : "No camera can be used: connect one, or close the program that uses it.",
    );
  }
  await video.play();
}

export function closeCamera(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}
