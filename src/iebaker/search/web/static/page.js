"use strict";
const at = (id) => document.getElementById(id);
const FIELDS = ["q", "plus", "minus", "k", "bbox", "since", "until", "sensor"];
let image = null; // the uploaded one; it cannot be part of the address
let like = null; // row of "more like this"
let asked = 0; // so that a slow answer never replaces a later one

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").className = wrong ? "error" : "";
}

function parameters() {
  const given = new URLSearchParams();
  for (const name of FIELDS) {
    const value = at(name).value.trim();
    if (value && !(name === "k" && value === "20")) given.set(name, value);
  }
  if (like !== null) given.set("like", like);
  return given;
}

async function answer(path, options = {}) {
  const response = await fetch(path, options);
  const content = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(content.error || `the server answered ${response.status}`);
  return content;
}

function describe(hit) {
  const parts = [];
  if (hit.datetime) parts.push(hit.datetime.slice(0, 10));
  if (hit.sensor) parts.push(hit.sensor);
  if (hit.bbox) parts.push(`${((hit.bbox[1] + hit.bbox[3]) / 2).toFixed(3)}, ${centre(hit.bbox).toFixed(3)}`);
  return parts.join(" · ");
}

function centre(box) {
  const width = (box[2] - box[0] + 360) % 360;
  return ((box[0] + width / 2 + 540) % 360) - 180;
}

function shown(hit) {
  const about = describe(hit);
  const caption = make("figcaption", {}, make("p", {}, make("strong", { textContent: `${hit.rank}. ` }), hit.path));
  if (about) caption.append(make("p", { textContent: about }));
  caption.append(make("p", { textContent: `Score ${hit.score.toFixed(3)}` }));
  if (hit.confidence !== null) {
    const label = `Confidence ${hit.confidence.toFixed(1)} %`;
    caption.append(make("p", { textContent: label, title: "share of training captions that fit this image less" }));
    const bar = make("meter", { min: 0, max: 100, value: hit.confidence });
    bar.setAttribute("aria-label", label);
    caption.append(bar);
  }
  const more = make("button", { type: "button", textContent: "More like this" });
  more.setAttribute("aria-label", `More like result ${hit.rank}`);
  more.addEventListener("click", () => { forget(); like = hit.row; at("q").value = ""; search(true); });
  caption.append(more);
  if (window.archive.captions) caption.append(captionButton(hit));
  const picture = make("img", {
    src: `api/thumbnail/${hit.row}`, loading: "lazy", alt: `Result ${hit.rank}: ${hit.path}${about ? ", " + about : ""}`,
  });
  return make("li", {}, make("figure", {}, picture, caption));
}

function captionButton(hit) {
  const button = make("button", { type: "button", textContent: "Captions" });
  button.setAttribute("aria-label", `Captions for result ${hit.rank}`);
  button.addEventListener("click", async () => {
    try {
      const found = await answer(`api/caption?like=${hit.row}&k=3`);
      button.replaceWith(make("ul", {}, ...found.map((one) => make("li", { textContent: one.caption }))));
      say(`Captions for result ${hit.rank}: ${found.map((one) => one.caption).join("; ")}`);
    } catch (error) { say(error.message, true); }
  });
  return button;
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function drawMap(hits) {
  const placed = hits.filter((hit) => hit.bbox);
  at("map").hidden = placed.length === 0;
  const map = at("map").querySelector("svg");
  map.querySelectorAll("g").forEach((group) => group.remove());
  if (!placed.length) return;
  const x = placed.map((hit) => centre(hit.bbox));
  const y = placed.map((hit) => (hit.bbox[1] + hit.bbox[3]) / 2);
  const pad = Math.max(0.02, 0.15 * Math.max(Math.max(...x) - Math.min(...x), Math.max(...y) - Math.min(...y)));
  const [west, east] = [Math.max(-180, Math.min(...x) - pad), Math.min(180, Math.max(...x) + pad)];
  const [south, north] = [Math.max(-90, Math.min(...y) - pad), Math.min(90, Math.max(...y) + pad)];
  map.setAttribute("viewBox", `${west} ${-north} ${east - west} ${north - south}`);
  const group = svg("g", {});
  const size = Math.max(east - west, north - south);
  const step = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60].find((one) => size / one <= 8) || 60;
  for (let line = Math.ceil(west / step) * step; line <= east; line += step) {
    group.append(svg("line", { x1: line, x2: line, y1: -north, y2: -south }));
    group.append(label(line, -south - size * 0.01, size, `${line.toFixed(step < 1 ? 2 : 0)}°`));
  }
  for (let line = Math.ceil(south / step) * step; line <= north; line += step) {
    group.append(svg("line", { x1: west, x2: east, y1: -line, y2: -line }));
    group.append(label(west, -line, size, `${line.toFixed(step < 1 ? 2 : 0)}°`));
  }
  placed.forEach((hit, place) => {
    const width = Math.max((hit.bbox[2] - hit.bbox[0] + 360) % 360, size * 0.012);
    const height = Math.max(hit.bbox[3] - hit.bbox[1], size * 0.012);
    group.append(svg("rect", { x: x[place] - width / 2, y: -y[place] - height / 2, width, height }));
    group.append(label(x[place] + width / 2, -y[place], size, String(hit.rank)));
  });
  map.append(group);
}

function label(x, y, size, text) {
  const element = svg("text", { x, y, "font-size": size * 0.03 });
  element.textContent = text;
  return element;
}

async function search(remember) {
  const given = parameters();
  const number = ++asked;
  if (remember) history.pushState(null, "", given.size ? `?${given}` : location.pathname);
  if (!image && !["q", "plus", "like"].some((name) => given.has(name))) {
    at("found").hidden = true;
    say("");
    return;
  }
  say("Searching …");
  try {
    const content = await answer(`api/search?${given}`, image ? { method: "POST", body: image } : {});
    if (number !== asked) return;
    at("results").replaceChildren(...content.hits.map(shown));
    for (const form of ["csv", "geojson"]) at(form).href = `api/search?${given}&format=${form}`;
    at("found").querySelector(".downloads").hidden = image !== null; // a link cannot carry an uploaded image
    drawMap(content.hits);
    at("found").hidden = content.hits.length === 0;
    const what = like !== null ? `like row ${like}` : image ? "like the image" : "";
    say(content.hits.length ? `${content.hits.length} results ${what} in ${(1000 * content.seconds).toFixed(0)} ms`
      : "Nothing passes these filters");
  } catch (error) {
    if (number !== asked) return;
    at("found").hidden = true;
    say(error.message, true);
  }
}

function forget() {
  image = null;
  like = null;
  at("image").value = "";
}

function take(file) {
  if (file.size > window.archive.limits.bytes) {
    forget();
    say(`The image is larger than ${Math.floor(window.archive.limits.bytes / 2 ** 20)} MiB; give a smaller one`, true);
    return;
  }
  [image, like] = [file, null];
  search(false);
}

function fromAddress() {
  const given = new URLSearchParams(location.search);
  for (const name of FIELDS) at(name).value = given.get(name) || (name === "k" ? "20" : "");
  like = given.has("like") ? given.get("like") : null;
  search(false);
}

async function start() {
  try {
    window.archive = await answer("api/archive");
  } catch (error) { say(error.message, true); return; }
  const { name, rows, model, sensors, coordinates, times } = window.archive;
  at("archive").textContent = name;
  document.title = `${name} – iebaker search`;
  at("about").textContent = `${rows} images, embedded by ${model}`;
  document.querySelectorAll(".coordinates").forEach((element) => { element.hidden = !coordinates; });
  document.querySelectorAll(".times").forEach((element) => { element.hidden = !times; });
  document.querySelectorAll(".sensors").forEach((element) => { element.hidden = sensors.length < 2; });
  at("sensor").append(...sensors.map((one) => make("option", { value: one, textContent: one })));
  at("query").addEventListener("submit", (event) => { event.preventDefault(); like = null; search(true); });
  at("clear").addEventListener("click", () => { at("query").reset(); forget(); search(true); at("q").focus(); });
  at("image").addEventListener("change", () => { if (at("image").files.length) take(at("image").files[0]); });
  for (const name of ["dragover", "dragleave", "drop"]) {
    at("drop").addEventListener(name, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
  }
  addEventListener("popstate", () => { forget(); fromAddress(); });
  fromAddress();
}

start();
