// A timeline on the nodes that work in time: the curves of the motion, and over them what the node does with it.
//
//   LEO Trim Motion                            drag the edges, or the part between them: writes start and frames
//   LEO Edit Directions, Blend Motion, Edit Flow   drag keyframes, double-click to add or remove one: writes curve and timing
//   LEO Plot Motion                            curves alone
//
// A playhead goes along with the rendering and with the video that comes of the motion; a click on the timeline seeks there.
// The ordinary widgets stay the truth: the timeline draws what they hold and writes nothing else. Curves come with the
// node's last run. Without this script, or where the page no longer has what it builds on, the widgets do everything.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const EXTENSION = "leo.timeline";
const TRIMS = "trims";
const KEYS = "keys";
const SHOWS = "shows";
const NODES = {
  LEOTrimMotion: TRIMS,
  LEOEditDirections: KEYS,
  LEOBlendMotion: KEYS,
  LEOEditFlow: KEYS,
  LEOPlotMotion: SHOWS,
};
// Frame i behind these is not frame i before them.
const CHANGES_TIME = ["LEORetimeMotion", "LEOJoinMotion", "LEOLoopMotion", "LEOLMDMSampler", "LEOTrainMotionPrior"];
const RENDERERS = ["LEORenderVideo", "LEOInpaintingDecoder"];

const HEIGHT = 150;
const SIDE = 12;
const RULER = 18;
const FOOT = 18;
const CLASSIC_MARGIN = 10; // that classic rendering leaves around a widget's element
const REACH = 7; // how near, in pixels, the pointer has to be to what it takes
const FONT = "11px Inter, Arial, sans-serif";
const INK = "#c8c8c8";
const QUIET = "#6f6f76";
const ACCENT = "#4aa3ff";
const PLAYHEAD = "#ff5c5c";
const HELP = {
  [TRIMS]: "Run once to see the motion here, then drag the edges of the part to keep.",
  [KEYS]: "Drag keyframes; double-click to add or remove one. Click the word below to switch between smooth and linear.",
  [SHOWS]: "Run to see the motion here.",
};

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);
const isLinked = (node, name) => node.inputs?.some((input) => input.name === name && input.link != null);

function write(node, name, value) {
  const widget = widgetOf(node, name);
  widget.value = value;
  widget.callback?.(value);
}

// The first node's nodes downstream through which frames keep their number, as [node, frames cut off before it].
function* followers(node, output, cut = 0, seen = new Set()) {
  for (const id of node.outputs?.[output]?.links ?? []) {
    const link = node.graph.getLink(id);
    const next = link && node.graph.getNodeById(link.target_id);
    if (!next || seen.has(next.id) || CHANGES_TIME.includes(next.comfyClass)) continue;
    seen.add(next.id);
    yield [next, cut];
    const more = next.comfyClass === "LEOTrimMotion" ? Number(widgetOf(next, "start").value) : 0;
    for (const slot of next.outputs?.keys() ?? []) yield* followers(next, slot, cut + more, seen);
  }
}

// The video that a node shows, in classic rendering or in Nodes 2.0.
function videoOf(node) {
  return node.videoContainer?.querySelector("video") ?? document.querySelector(`[data-node-id="${node.id}"] video`);
}

// Slopes at keyframes: those of a monotone cubic (Fritsch and Carlson 1980), as ComfyUI evaluates its curves.
function slopesOf(points) {
  const chords = points.slice(1).map(([x, y], i) => (x > points[i][0] ? (y - points[i][1]) / (x - points[i][0]) : 0));
  const slopes = points.map((_, i) => {
    const before = chords[i - 1] ?? chords[i] ?? 0;
    const after = chords[i] ?? before;
    return before * after > 0 ? (before + after) / 2 : i === 0 || i === points.length - 1 ? after : 0;
  });
  chords.forEach((chord, i) => {
    const size = chord ? Math.hypot(slopes[i], slopes[i + 1]) / Math.abs(chord) : Infinity;
    if (size > 3) {
      slopes[i] *= 3 / size;
      slopes[i + 1] *= 3 / size;
    }
  });
  return slopes;
}

class Timeline {
  constructor(node) {
    this.node = node;
    this.kind = NODES[node.comfyClass];
    this.motion = null; // {frames, fps, curves: one line of values in -1..1 per direction, evenly spaced in time}
    this.frame = null; // of the playhead
    this.pointer = null;
    this.drag = null;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "leo-timeline";
    this.canvas.title = this.kind === SHOWS ? "" : HELP[this.kind];
    Object.assign(this.canvas.style, { display: "block", width: "100%", height: `${HEIGHT}px`, borderRadius: "6px", touchAction: "none" });
    this.listen();
  }

  listen() {
    this.ended = new AbortController();
    const on = (target, event, handle, options = {}) => target.addEventListener(event, handle, { signal: this.ended.signal, ...options });
    on(this.canvas, "pointerdown", (event) => this.take(event));
    on(this.canvas, "pointermove", (event) => this.move(event));
    on(this.canvas, "pointerup", () => this.release());
    on(this.canvas, "pointercancel", () => this.release());
    on(this.canvas, "pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
    on(this.canvas, "dblclick", (event) => this.change(event));
    on(this.canvas, "wheel", (event) => LiteGraph.vueNodesMode || app.canvas.processMouseWheel(event));
    // Media events do not bubble, but can be caught on their way down.
    for (const event of ["play", "timeupdate", "seeked"]) on(document, event, (e) => this.follow(e.target), { capture: true });
    on(api, "progress", (event) => this.rendered(event.detail));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
  }

  end() {
    this.ended.abort();
    this.resized.disconnect();
  }

  show(output) {
    this.motion = output?.leo_motion?.[0] ?? this.motion;
    this.frame = null;
    this.draw();
  }

  // What is drawn of the ordinary widgets

  get frames() {
    return this.motion?.frames ?? 0;
  }

  get part() {
    const start = clamp(Number(widgetOf(this.node, "start").value), 0, Math.max(this.frames - 1, 0));
    const count = Number(widgetOf(this.node, "frames").value);
    return { start, stop: count ? clamp(start + count, start + 1, this.frames) : this.frames };
  }

  get keys() {
    const value = widgetOf(this.node, "curve").value;
    return [...(value?.points ?? value ?? [])].map(([x, y]) => [x, y]).sort((a, b) => a[0] - b[0]);
  }

  get followsKeys() {
    return widgetOf(this.node, "timing").value === "curve";
  }

  get isLinear() {
    return widgetOf(this.node, "curve").value?.interpolation === "linear";
  }

  get isOpen() {
    return this.kind === KEYS && !isLinked(this.node, "curve");
  }

  writePart(start, stop) {
    write(this.node, "start", start);
    write(this.node, "frames", stop === this.frames ? 0 : stop - start);
  }

  writeKeys(points, linear = this.isLinear) {
    write(this.node, "curve", { points, interpolation: linear ? "linear" : "monotone_cubic" });
    if (!this.followsKeys) write(this.node, "timing", "curve");
  }

  // Pixels to frames and shares of the height, and back. Of T frames the last ends at the right edge for a part to keep,
  // and stands there for a key, which lies between the first and the last frame.

  get width() {
    return this.canvas.clientWidth - 2 * SIDE;
  }

  // Nodes 2.0 gives it more where the node is higher than it needs to be.
  get tall() {
    return this.canvas.clientHeight || HEIGHT;
  }

  get height() {
    return this.tall - RULER - FOOT;
  }

  get span() {
    return Math.max(1, this.kind === TRIMS ? this.frames : this.frames - 1);
  }

  xOf(frame) {
    return SIDE + (frame / this.span) * this.width;
  }

  frameAt(x) {
    return clamp(((x - SIDE) / this.width) * this.span, 0, this.span);
  }

  frameUnder(x) {
    const frame = this.frameAt(x);
    return Math.min(this.kind === TRIMS ? Math.floor(frame) : Math.round(frame), this.frames - 1);
  }

  keyPlace([x, y]) {
    return [SIDE + x * this.width, RULER + (1 - y) * this.height];
  }

  keyAt(x, y) {
    const distances = this.keys.map((key) => Math.hypot(this.keyPlace(key)[0] - x, this.keyPlace(key)[1] - y));
    const nearest = distances.indexOf(Math.min(...distances));
    return distances[nearest] <= REACH + 2 ? nearest : -1;
  }

  keyFrom(x, y) {
    // onto a frame, where frames are known
    const time = this.frames > 1 ? Math.round(this.frameAt(x)) / this.span : clamp((x - SIDE) / this.width, 0, 1);
    return [Math.round(time * 1e4) / 1e4, Math.round(clamp(1 - (y - RULER) / this.height, 0, 1) * 100) / 100];
  }

  // The pointer

  // What lies under it: an edge of the part, the part, a key's number, or null.
  hit(x, y) {
    if (this.kind === TRIMS && this.frames && y > RULER && !["start", "frames"].some((name) => isLinked(this.node, name))) {
      const left = this.xOf(this.part.start);
      const right = this.xOf(this.part.stop);
      const [toLeft, toRight] = [Math.abs(x - left), Math.abs(x - right)];
      if (Math.min(toLeft, toRight) <= REACH) return toLeft < toRight || (toLeft === toRight && x < left) ? "left" : "right";
      return x > left && x < right ? "part" : null;
    }
    if (this.isOpen) {
      const key = this.keyAt(x, y);
      return key < 0 ? null : key;
    }
    return null;
  }

  take(event) {
    if (event.button !== 0) {
      if (!LiteGraph.vueNodesMode && event.button === 1) app.canvas.processMouseDown(event);
      return;
    }
    event.stopPropagation(); // or the node moves along
    const { offsetX: x, offsetY: y } = event;
    if (this.isOpen && y > this.tall - FOOT && x > this.canvas.clientWidth / 2) return this.writeKeys(this.keys, !this.isLinear);
    this.drag = { what: this.hit(x, y), from: this.frameAt(x), part: this.kind === TRIMS && this.part };
    this.canvas.setPointerCapture(event.pointerId);
    if (this.drag.what === null) this.seek(x);
  }

  move(event) {
    if (event.buttons & 4 && !LiteGraph.vueNodesMode) app.canvas.processMouseMove(event);
    const { offsetX: x, offsetY: y } = event;
    this.pointer = [x, y];
    const over = this.drag ? this.drag.what : this.hit(x, y);
    this.canvas.style.cursor = { left: "ew-resize", right: "ew-resize", part: "grab" }[over] ?? (over === null ? "default" : "move");
    if (this.drag) this.dragTo(x, y);
    this.draw();
  }

  dragTo(x, y) {
    const { what, from, part } = this.drag;
    if (what === null) return this.seek(x);
    if (what === "left") return this.writePart(clamp(Math.round(this.frameAt(x)), 0, part.stop - 1), part.stop);
    if (what === "right") return this.writePart(part.start, clamp(Math.round(this.frameAt(x)), part.start + 1, this.frames));
    if (what === "part") {
      const by = clamp(Math.round(this.frameAt(x) - from), -part.start, this.frames - part.stop);
      return by && this.writePart(part.start + by, part.stop + by);
    }
    const keys = this.keys;
    const [time, value] = this.keyFrom(x, y);
    keys[what] = [clamp(time, keys[what - 1]?.[0] ?? 0, keys[what + 1]?.[0] ?? 1), value];
    this.writeKeys(keys);
  }

  release() {
    this.drag = null;
    this.node.graph?.setDirtyCanvas(true, true);
    this.draw();
  }

  // By a double click: a key more or less, or the whole motion again.
  change(event) {
    event.stopPropagation();
    const what = this.hit(event.offsetX, event.offsetY);
    if (this.isOpen) {
      if (event.offsetY > this.tall - FOOT) return;
      const keys = this.keys;
      if (what === null) this.writeKeys([...keys, this.keyFrom(event.offsetX, event.offsetY)].sort((a, b) => a[0] - b[0]));
      else if (keys.length > 2) this.writeKeys(keys.filter((_, i) => i !== what));
    } else if (what !== null) {
      this.writePart(0, this.frames);
    }
    this.draw();
  }

  // The playhead

  // Nodes in which frames of this motion can be seen, as [node, frames cut off before them].
  shownBy() {
    if (this.kind !== SHOWS) return [...followers(this.node, 0, this.kind === TRIMS ? this.part.start : 0)];
    const link = this.node.graph?.getLink(this.node.inputs?.[0]?.link);
    const origin = link && this.node.graph.getNodeById(link.origin_id);
    return origin ? [...followers(origin, link.origin_slot)] : [];
  }

  follow(video) {
    if (!(video instanceof HTMLVideoElement) || !this.motion?.fps || !this.node.graph) return;
    const found = this.shownBy().find(([node]) => videoOf(node) === video);
    if (!found) return;
    this.place(video.currentTime * this.motion.fps + found[1]);
    if (video.paused || this.following === video) return;
    this.following = video;
    video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.following = null;
      this.place(mediaTime * this.motion.fps + found[1]);
      if (!this.ended.signal.aborted) this.follow(video);
    });
  }

  rendered({ node: id, value }) {
    if (!this.node.graph) return;
    const found = this.shownBy().find(([node]) => String(node.id) === String(id) && RENDERERS.includes(node.comfyClass));
    if (found) this.place(value - 1 + found[1]);
  }

  seek(x) {
    const [video, cut] = this.shownBy().map(([node, cut]) => [videoOf(node), cut]).find(([video]) => video) ?? [];
    if (!video || !this.motion?.fps) return;
    video.pause();
    video.currentTime = Math.max(0, (this.frameUnder(x) - cut + 0.5) / this.motion.fps);
  }

  place(frame) {
    const shown = clamp(Math.floor(frame + 1e-3), 0, Math.max(this.frames - 1, 0));
    if (shown === this.frame) return;
    this.frame = shown;
    this.draw();
  }

  // Drawing

  draw() {
    const { clientWidth: width } = this.canvas;
    if (!width) return;
    const scale = 2 * (window.devicePixelRatio || 1); // sharp when the graph is zoomed in
    const [across, down] = [Math.round(width * scale), Math.round(this.tall * scale)];
    if (this.canvas.width !== across || this.canvas.height !== down) Object.assign(this.canvas, { width: across, height: down });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.fillStyle = "#1b1b1f";
    pen.fillRect(0, 0, width, this.tall);
    pen.fillStyle = "#26262b";
    pen.fillRect(SIDE, RULER, this.width, this.height);
    this.drawRuler(pen);
    const nearest = this.drawCurves(pen);
    if (this.kind === TRIMS && this.frames) this.drawPart(pen);
    if (this.kind === KEYS) this.drawKeys(pen);
    this.drawPlayhead(pen);
    this.drawFoot(pen, nearest);
  }

  drawRuler(pen) {
    if (!this.frames) return;
    const apart = (this.span * 45) / this.width; // frames, at least, between two numbers
    const power = 10 ** Math.floor(Math.log10(Math.max(apart, 1)));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= apart);
    pen.fillStyle = QUIET;
    pen.strokeStyle = "#33333a";
    pen.lineWidth = 1;
    pen.textAlign = "center";
    for (let frame = 0; frame <= this.span; frame += step) {
      const x = this.xOf(frame);
      pen.fillText(frame, clamp(x, SIDE + 3, SIDE + this.width - 8), RULER / 2);
      this.line(pen, x, RULER, x, RULER + this.height);
    }
  }

  // Every direction in a color of its own; the number of the one that the pointer is at.
  drawCurves(pen) {
    const curves = this.motion?.curves ?? [];
    const place = (curve, i) => [
      this.xOf((i / Math.max(curve.length - 1, 1)) * Math.max(this.frames - 1, 0)),
      RULER + (0.5 - 0.47 * curve[i]) * this.height,
    ];
    let nearest = -1;
    if (this.pointer && !this.drag) {
      const off = curves.map((curve) => {
        const i = Math.round(clamp(this.frameAt(this.pointer[0]) / Math.max(this.frames - 1, 1), 0, 1) * (curve.length - 1));
        return Math.abs(place(curve, i)[1] - this.pointer[1]);
      });
      nearest = off.indexOf(Math.min(REACH, ...off));
    }
    curves.forEach((curve, d) => {
      pen.beginPath();
      curve.forEach((_, i) => pen.lineTo(...place(curve, i)));
      pen.strokeStyle = `hsl(${(360 * d) / curves.length} 70% 62% / ${nearest === d ? 1 : nearest < 0 ? 0.75 : 0.25})`;
      pen.lineWidth = nearest === d ? 2 : 1.2;
      pen.stroke();
    });
    return nearest;
  }

  drawPart(pen) {
    const { start, stop } = this.part;
    const [left, right] = [this.xOf(start), this.xOf(stop)];
    pen.fillStyle = "rgb(15 15 18 / 0.72)";
    pen.fillRect(SIDE, RULER, left - SIDE, this.height);
    pen.fillRect(right, RULER, SIDE + this.width - right, this.height);
    pen.strokeStyle = pen.fillStyle = ACCENT;
    pen.lineWidth = 2;
    pen.strokeRect(left, RULER, right - left, this.height);
    for (const x of [left, right]) {
      pen.beginPath();
      pen.roundRect(x - 3, RULER + this.height / 2 - 14, 6, 28, 3);
      pen.fill();
    }
  }

  drawKeys(pen) {
    const keys = this.keys;
    if (!this.isOpen || !keys.length) return;
    const places = keys.map((key) => this.keyPlace(key));
    const slopes = slopesOf(places);
    pen.globalAlpha = this.followsKeys ? 1 : 0.35;
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(SIDE, places[0][1]);
    pen.lineTo(...places[0]);
    places.slice(1).forEach(([x, y], i) => {
      const [x0, y0] = places[i];
      const third = (x - x0) / 3;
      if (this.isLinear) pen.lineTo(x, y);
      else pen.bezierCurveTo(x0 + third, y0 + third * slopes[i], x - third, y - third * slopes[i + 1], x, y);
    });
    pen.lineTo(SIDE + this.width, places.at(-1)[1]);
    pen.stroke();
    const held = this.drag ? this.drag.what : this.pointer && this.hit(...this.pointer);
    places.forEach(([x, y], i) => {
      pen.beginPath();
      pen.arc(x, y, i === held ? 6 : 4.5, 0, 2 * Math.PI);
      pen.fillStyle = i === held ? "#ffffff" : ACCENT;
      pen.fill();
      pen.stroke();
    });
    pen.globalAlpha = 1;
  }

  drawPlayhead(pen) {
    if (this.frame === null || !this.frames) return;
    const x = this.xOf(this.frame);
    pen.strokeStyle = pen.fillStyle = PLAYHEAD;
    pen.lineWidth = 1.5;
    this.line(pen, x, RULER - 4, x, RULER + this.height);
    pen.beginPath();
    pen.moveTo(x - 5, RULER - 9);
    pen.lineTo(x + 5, RULER - 9);
    pen.lineTo(x, RULER - 2);
    pen.fill();
  }

  drawFoot(pen, nearest) {
    const y = this.tall - FOOT / 2;
    pen.fillStyle = INK;
    pen.textAlign = "left";
    pen.fillText(this.sayPlace(nearest), SIDE, y, this.width * 0.6);
    pen.fillStyle = QUIET;
    pen.textAlign = "right";
    pen.fillText(this.sayWhole(), SIDE + this.width, y, this.width * 0.4);
    if (!this.frames && this.kind !== KEYS) {
      pen.textAlign = "center";
      pen.fillText(HELP[this.kind], SIDE + this.width / 2, RULER + this.height / 2, this.width - 10);
    }
  }

  sayPlace(nearest) {
    const key = this.isOpen ? (this.drag ? this.drag.what : this.pointer && this.hit(...this.pointer)) : null;
    if (Number.isInteger(key)) {
      const [x, y] = this.keys[key];
      return `${this.frames > 1 ? `frame ${Math.round(x * this.span)}` : `${Math.round(100 * x)} %`}: ${y.toFixed(2)}`;
    }
    const frame = this.pointer ? this.frameUnder(this.pointer[0]) : this.frame;
    if (!this.frames || frame === null) return "";
    const name = nearest < 0 ? "" : `, direction ${nearest} ${this.node.leoDirections?.[nearest]?.name ?? ""}`.trimEnd();
    return `frame ${frame}${this.motion.fps ? ` (${(frame / this.motion.fps).toFixed(2)} s)` : ""}${name}`;
  }

  sayWhole() {
    if (this.kind === KEYS) return this.isOpen ? (this.isLinear ? "linear" : "smooth") : "set by the connected curve";
    if (!this.frames) return "";
    if (this.kind === SHOWS) return `${this.frames} frames`;
    const { start, stop } = this.part;
    return `${stop - start} of ${this.frames} frames`;
  }

  line(pen, ...[x0, y0, x1, y1]) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }
}

// ComfyUI's own editor of the curve would say the same again (and classic rendering has none); a connected curve needs its input.
function hideCurve(node) {
  const curve = widgetOf(node, "curve");
  if (curve) curve.hidden = curve.options.hidden = !isLinked(node, "curve");
}

function addTimeline(node) {
  const timeline = new Timeline(node);
  const widget = node.addDOMWidget("timeline", "leo_timeline", timeline.canvas, {
    serialize: false,
    hideInPanel: true, // which would draw nothing there, and hand the node the panel's width
    getMinHeight: () => HEIGHT + 2 * CLASSIC_MARGIN,
    getMaxHeight: () => HEIGHT + 2 * CLASSIC_MARGIN,
    hideOnZoom: false,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  node.leoTimeline = timeline;
  hideCurve(node);

  for (const name of ["start", "frames", "curve", "timing"]) {
    const typed = widgetOf(node, name);
    if (!typed) continue;
    const called = typed.callback;
    typed.callback = function (...args) {
      called?.apply(this, args);
      timeline.draw();
    };
  }
  const executed = node.onExecuted;
  node.onExecuted = function (output) {
    executed?.apply(this, arguments);
    timeline.show(output);
  };
  const connected = node.onConnectionsChange;
  node.onConnectionsChange = function (...args) {
    connected?.apply(this, args);
    hideCurve(node);
    timeline.draw();
  };
  const removed = node.onRemoved;
  node.onRemoved = function () {
    removed?.apply(this, arguments);
    timeline.end();
  };
}

// Also used by the other scripts of the pack. A second copy of it in custom_nodes brings its scripts too, and a name registers once.
export function register(extension) {
  if (app.extensions.some(({ name }) => name === extension.name)) {
    if (extension.name === EXTENSION) console.warn("LEO is installed twice. Remove one copy from custom_nodes.");
  } else {
    app.registerExtension(extension);
  }
}

register({
  name: EXTENSION,

  nodeCreated(node) {
    if (!(node.comfyClass in NODES)) return;
    try {
      addTimeline(node);
    } catch (error) {
      console.warn(`LEO: no timeline on ${node.comfyClass}, its other widgets do the same`, error);
    }
  },

  // Widget values are in place only now; what the last run showed is kept by the page when it draws a graph again.
  afterConfigureGraph() {
    for (const node of app.graph.nodes.filter((n) => n.leoTimeline)) {
      hideCurve(node);
      node.leoTimeline.show(app.nodeOutputs?.[node.id]);
    }
  },
});
