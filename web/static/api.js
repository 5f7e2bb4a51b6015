// Requests to the server that this page is from, and the session that they belong to.

export const LOST = "The server does not answer: is it still running?";
const KEEP_EVERY = 240_000; // milliseconds

let begun = null;
const sendings = new Map(); // of uploads, by their path

export async function request(address, options) {
  const response = await fetch(address, options).catch(() => {
    throw new Error(LOST);
  });
  const isJson = response.headers.get("content-type")?.includes("json");
  const answer = isJson && response.status !== 204 ? await response.json() : null;
  if (!response.ok) throw new Error(answer?.error ?? `The server answered ${response.status}.`);
  return answer;
}

// Name of the session, which is begun at the first use.
export async function sessionName() {
  begun ??= request("/api/sessions", { method: "POST" }).catch((error) => {
    begun = null;
    throw error;
  });
  return (await begun).session;
}

export async function inSession(path) {
  return `/api/sessions/${await sessionName()}${path}`;
}

// Upload a file; progress is told as a number from 0 to 1.  A newer file of the same path cancels
// an older one, whose promise is never settled.
export async function upload(path, file, onProgress = () => {}) {
  const address = await inSession(path);
  const form = new FormData();
  form.append("file", file);
  return new Promise((resolve, reject) => {
    sendings.get(path)?.abort();
    const sending = new XMLHttpRequest();
    sendings.set(path, sending);
    sending.open("POST", address);
    sending.responseType = "json";
    sending.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    sending.addEventListener("error", () => reject(new Error(LOST)));
    sending.addEventListener("load", () => {
      if (sending.status < 300) resolve(sending.response);
      else reject(new Error(sending.response?.error ?? `The server answered ${sending.status}.`));
    });
    sending.send(form);
  });
}

setInterval(() => {
  if (begun) inSession("").then(request).catch(() => {});
}, KEEP_EVERY);

addEventListener("pagehide", async () => {
  const known = await begun?.catch(() => null);
  if (known) fetch(`/api/sessions/${known.session}`, { method: "DELETE", keepalive: true });
});

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // its session has ended
});
