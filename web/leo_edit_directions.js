// Rows of direction and amount on LEO Edit Directions, with the animator's own names.
//
// The node's text stays the truth: a row is a line of it, written when a row is moved and read when the text is typed.
// Without this script the text alone does everything. Names come from the connected model file, as soon as it is chosen, or
// from the node's last run.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { register } from "./leo_timeline.js"; // whose timeline stands above the rows

const NODE = "LEOEditDirections";
const LOADER = "LEOLoadAnimator";
const ROW = /^(.+?)\s*[:=]\s*([-+]?(?:\d+\.?\d*|\.\d+))$/;
const REMOVE = "(remove)";
const COUNT_UNLESS_KNOWN = 40;
const REACH_UNLESS_KNOWN = 2;

// Every direction as {index, name, low, high}, the range in standard deviations.
function directionsOf(node) {
  return (
    node.leoDirections ??
    Array.from({ length: COUNT_UNLESS_KNOWN }, (_, index) => ({
      index,
      name: "",
      low: -REACH_UNLESS_KNOWN,
      high: REACH_UNLESS_KNOWN,
    }))
  );
}

function label(direction) {
  return direction.name ? `${direction.index} ${direction.name}` : `${direction.index}`;
}

function find(node, text) {
  const wanted = text.toLowerCase();
  return directionsOf(node).find((d) => String(d.index) === text || (d.name && d.name.toLowerCase() === wanted));
}

function textWidget(node) {
  return node.widgets.find((widget) => widget.name === "edits");
}

function lines(node) {
  return String(textWidget(node).value ?? "")
    .split(/[,;\n]/)
    .map((line) => line.trim())
    .filter(Boolean);
}

function write(node, all) {
  textWidget(node).value = all.join("\n");
  node.graph?.setDirtyCanvas(true, true);
}

function removeRows(node) {
  for (const widget of node.widgets.filter((w) => w.leoRow)) {
    node.removeWidget(widget);
  }
}

function addRow(node, position, name, amount) {
  const direction = find(node, name);
  const choices = directionsOf(node).map(label);
  const chosen = direction ? label(direction) : name;
  if (!choices.includes(chosen)) choices.push(chosen);
  choices.push(REMOVE);
  const replace = (newName, newAmount) => {
    const all = lines(node);
    all[position] = `${newName}: ${newAmount}`;
    write(node, all);
  };

  const combo = node.addWidget(
    "combo",
    `direction ${position + 1} of ${node.leoBuilds}`,
    chosen,
    (value) => {
      if (value === REMOVE) {
        write(node, lines(node).filter((_, i) => i !== position));
      } else {
        const picked = directionsOf(node).find((d) => label(d) === value);
        replace(picked ? picked.name || picked.index : value, slider.value);
      }
      buildRows(node);
    },
    { values: choices, serialize: false }
  );
  const low = Math.min(direction?.low ?? -REACH_UNLESS_KNOWN, amount);
  const high = Math.max(direction?.high ?? REACH_UNLESS_KNOWN, amount);
  const slider = node.addWidget(
    "slider",
    `amount ${position + 1} of ${node.leoBuilds}`,
    amount,
    (value) => replace(ROW.exec(lines(node)[position])[1], Math.round(value * 100) / 100),
    { min: low, max: high, step: 0.1, step2: 0.01, precision: 2, serialize: false }
  );
  for (const widget of [combo, slider]) {
    widget.label = widget.name.split(" of ")[0];
    widget.leoRow = true;
    widget.serialize = false;
    widget.tooltip = "A row of the edits above: a direction, and how many standard deviations to move along it.";
  }
}

function buildRows(node) {
  removeRows(node);
  node.leoBuilds = (node.leoBuilds ?? 0) + 1; // in the names: the page keeps value and choices of a removed widget for its name
  lines(node).forEach((line, position) => {
    const match = ROW.exec(line);
    if (match) addRow(node, position, match[1], Number(match[2]));
  });
  const size = node.computeSize();
  node.setSize([Math.max(node.size[0], size[0]), Math.max(node.size[1], size[1])]);
}

function loaderOf(node) {
  const slot = node.inputs?.findIndex((input) => input.name === "animator") ?? -1;
  const loader = slot >= 0 ? node.getInputNode(slot) : null;
  return loader?.comfyClass === LOADER ? loader : null;
}

function modelWidget(loader) {
  return loader?.widgets?.find((widget) => widget.name === "model");
}

async function readNames(node) {
  const model = modelWidget(loaderOf(node))?.value;
  if (!model) return;
  const response = await api.fetchApi(`/leo/directions?model=${encodeURIComponent(model)}`);
  if (response.ok) node.leoDirections = await response.json();
}

async function refresh(node) {
  await readNames(node);
  buildRows(node);
}

function tellOfChoices(loader) {
  const model = modelWidget(loader);
  const chosen = model.callback;
  model.callback = function (...args) {
    chosen?.apply(this, args);
    for (const node of loader.graph?.nodes ?? []) if (node.comfyClass === NODE && loaderOf(node) === loader) refresh(node);
  };
}

register({
  name: "leo.editDirections",

  nodeCreated(node) {
    if (node.comfyClass === LOADER) tellOfChoices(node);
    if (node.comfyClass !== NODE) return;
    const text = textWidget(node);
    const typed = text.callback;
    text.callback = function (...args) {
      typed?.apply(this, args);
      buildRows(node);
    };
    const add = node.addWidget(
      "button",
      "Add a direction",
      null,
      () => {
        const used = new Set(lines(node).map((line) => find(node, ROW.exec(line)?.[1] ?? "")?.index));
        const free = directionsOf(node).find((d) => !used.has(d.index)) ?? directionsOf(node)[0];
        write(node, [...lines(node), `${free.name || free.index}: 0`]);
        buildRows(node);
      },
      { serialize: false }
    );
    add.serialize = false;
    add.tooltip = "Adds a row to the edits.";

    const connected = node.onConnectionsChange;
    node.onConnectionsChange = function (...args) {
      connected?.apply(this, args);
      if (!app.configuringGraph) refresh(node);
    };
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      if (output?.leo_directions) {
        node.leoDirections = output.leo_directions;
        buildRows(node);
      }
    };
  },

  // links exist only once the whole graph is there
  afterConfigureGraph() {
    for (const node of app.graph.nodes.filter((n) => n.comfyClass === NODE)) refresh(node);
  },
});
