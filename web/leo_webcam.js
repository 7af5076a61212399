// The picture that LEO Webcam takes with every prompt. The page's own widget of type WEBCAM shows the camera; this uploads
// a frame of it when a prompt is made. `hold` pauses what is shown, and the frame that stands is taken again and again.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { register } from "./leo_timeline.js"; // registers a name once

const NODE = "LEOWebcam";
const PATIENCE = 10_000; // milliseconds that a camera may take to begin, the question of the browser included
const STEP = 100;

// The <video> that shows the camera, as soon as it has a picture; null when there will be none.
async function camera(widget) {
  for (let waited = 0; waited < PATIENCE; waited += STEP) {
    const video = widget.element.querySelector("video");
    if (video?.videoWidth && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return video;
    if (!video && widget.element.textContent) return null; // the page says why, in the camera's place
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  return null;
}

// Annotated path of the uploaded picture, empty without a camera: the node then says what to do.
async function take(widget, held) {
  const video = await camera(widget);
  if (!video) return "";
  if (held) video.pause();
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const picture = await new Promise((resolve) => canvas.toBlob(resolve));
  const body = new FormData();
  body.append("image", new File([picture], `leo_${crypto.randomUUID()}.png`));
  body.append("subfolder", "webcam");
  body.append("type", "temp");
  const answer = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!answer.ok) throw new Error(`LEO Webcam could not upload its picture: ${answer.status} ${answer.statusText}`);
  const { name, subfolder, type } = await answer.json();
  return `${subfolder}/${name} [${type}]`;
}

register({
  name: "LEO.Webcam",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const shown = node.widgets.find((widget) => widget.name === "image");
    const hold = node.widgets.find((widget) => widget.name === "hold");
    shown.serializeValue = () => take(shown, hold.value);
    const { callback } = hold;
    hold.callback = function (...values) {
      const video = shown.element.querySelector("video");
      if (hold.value) video?.pause();
      else video?.play();
      return callback?.apply(this, values);
    };
    const { onRemoved } = node;
    node.onRemoved = function () {
      // or the camera's light stays on
      for (const track of shown.element.querySelector("video")?.srcObject?.getTracks() ?? []) track.stop();
      onRemoved?.call(this);
    };
  },
});
