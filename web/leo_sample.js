// A file of one's own on LEO Load Sample: a button, a drop on the node, and a preview of what is chosen.
//
// ComfyUI's own upload widgets take either pictures or videos, and show only files of the input folder; the samples of
// this pack lie elsewhere. The file goes to the input folder as with Load Image. Without this script the list does it.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { register } from "./leo_timeline.js";

const NODE = "LEOLoadSample";
const KINDS = /^(image|video)\//;
const HEIGHT = 190;

function sampleOf(node) {
  return node.widgets.find((widget) => widget.name === "sample");
}

function show(node) {
  const name = sampleOf(node).value;
  // asked anew each time: a file may be replaced under its name
  node.leoPreview.src = api.apiURL(`/leo/preview?name=${encodeURIComponent(name)}&at=${Date.now()}`);
  node.leoPreview.alt = name;
}

function choose(node, name) {
  const sample = sampleOf(node);
  if (!sample.options.values.includes(name)) sample.options.values.push(name);
  sample.value = name;
  sample.callback?.(name);
  node.graph?.setDirtyCanvas(true, true);
}

async function upload(node, file) {
  const body = new FormData();
  body.append("image", file); // what the route calls any file
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.ok) {
    const { name } = await response.json();
    choose(node, `${name} [input]`);
  } else {
    const detail = `${file.name} was not uploaded: ${response.status} ${response.statusText}`;
    app.extensionManager.toast.add({ severity: "error", summary: "LEO Load Sample", detail });
  }
}

function addButton(node) {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.accept = "image/*,video/*";
  chooser.onchange = () => {
    if (chooser.files.length) upload(node, chooser.files[0]);
    chooser.value = ""; // so that the same file can be chosen again
  };
  const button = node.addWidget("button", "choose your own file", null, () => chooser.click(), { serialize: false });
  button.serialize = false;
  button.tooltip = "Uploads a picture or a clip to ComfyUI's input folder and loads it.";
}

function addPreview(node) {
  node.leoPreview = document.createElement("img");
  node.leoPreview.style.cssText = "position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain;";
  // whose height does not follow the picture's: Nodes 2.0 would make room for all of a tall photo
  const frame = document.createElement("div");
  frame.style.cssText = `position: relative; height: 100%; min-height: ${HEIGHT - 20}px;`;
  frame.append(node.leoPreview);
  const widget = node.addDOMWidget("preview", "leo_preview", frame, {
    serialize: false,
    hideInPanel: true, // which would draw nothing there, and hand the node the panel's width
    getMinHeight: () => HEIGHT,
    hideOnZoom: false,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
}

function takeDrops(node) {
  node.onDragOver = (event) => Boolean(event?.dataTransfer?.types?.includes("Files"));
  node.onDragDrop = (event) => {
    const file = [...(event.dataTransfer?.files ?? [])].find(({ type }) => KINDS.test(type));
    if (file) upload(node, file);
    return Boolean(file);
  };
}

register({
  name: "leo.sample",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const sample = sampleOf(node);
    const chosen = sample.callback;
    sample.callback = function (...args) {
      chosen?.apply(this, args);
      show(node);
    };
    addButton(node);
    addPreview(node);
    takeDrops(node);
    show(node);
    const configured = node.onConfigure;
    node.onConfigure = function () {
      configured?.apply(this, arguments);
      show(node); // the value of the file is in place only now
    };
  },
});
