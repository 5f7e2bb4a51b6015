// Requests to the server that this page is from, and the session that they belong to.

const LOST = "The server does not answer: is it still running?";
const KEEP_EVERY = 240_000; // milliseconds

let begun = null;

async function answerOf(response) {
  const answer = response.headers.get("content-type")?.includes("json")
    ? await response.json()
    : null;
  if (!response.ok) throw new Error(answer?.error ?? `The server answered ${response.status}.`);
  return answer;
}

export async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error(LOST);
  }
  return answerOf(response);
}

// Address of something in the session, which is begun at the first use.
export async function inSession(path) {
  begun ??= request("/api/sessions", { method: "POST" }).catch((error) => {
    begun = null;
    throw error;
  });
  return `/api/sessions/${(await begun).session}${path}`;
}

export async function sessionName() {
  await inSession("");
  return (await begun).session;
}

// Upload a file; progress is told as a number from 0 to 1.
export async function upload(path, file, onProgress = () => {}) {
  const address = await inSession(path);
  const form = new FormData();
  form.append("file", file);
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
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

setInterval(async () => {
  if (begun) request(await inSession("")).catch(() => {});
}, KEEP_EVERY);

addEventListener("pagehide", async () => {
  const known = await begun?.catch(() => null);
  if (known) fetch(`/api/sessions/${known.session}`, { method: "DELETE", keepalive: true });
});

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // its session has ended
});
