// The camera: a phone's own app, or a live picture in a dialog where there is no such app.

import { make } from "./common.js";
import { openDialog } from "./results.js";

const hasApp = () => matchMedia("(hover: none)").matches;
const HEADING = "Take a photo";

// Whether there is any way to use one: without an app, browsers give it to safe addresses only.
export const available = () => hasApp() || Boolean(navigator.mediaDevices?.getUserMedia);

// Calls `take(blob)` with the photo; `app` is the input that opens the camera's app.
export async function shoot(app, take) {
  if (hasApp()) { app.click(); return; }
  const video = make("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  video.muted = true;
  const release = make("button", { type: "button", class: "primary", text: HEADING, disabled: true });
  openDialog(HEADING, null, make("div", { class: "camera" }, video, release));
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    openDialog(HEADING, null, make("p", { class: "error", role: "alert", text: "The camera cannot be used. Allow it in your browser, or choose a photo instead." }));
    return;
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  const dialog = video.closest("dialog");
  if (!dialog?.open) { stop(); return; } // closed meanwhile
  dialog.addEventListener("close", stop, { once: true });
  video.srcObject = stream;
  video.addEventListener("loadeddata", () => { release.disabled = false; release.focus(); }, { once: true });
  release.addEventListener("click", () => {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    dialog.close();
    canvas.toBlob((blob) => take(blob), "image/jpeg", 0.92);
  });
}
