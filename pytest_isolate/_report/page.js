"use strict";
// Everything a test wrote reaches the document as text, never as HTML.
const read = id => JSON.parse(document.getElementById(id).textContent);
const size = n => { const units = ["B", "KiB", "MiB", "GiB", "TiB"]; let i = 0; while (n >= 1024 && i < 4) { n /= 1024; i++ } return (Number.isInteger(n) ? n : n.toFixed(1)) + " " + units[i] };
const time = s => s < 1 ? Math.round(s * 1000) + " ms" : s < 60 ? s.toPrecision(3) + " s" : Math.floor(s / 60) + " min " + Math.round(s % 60) + " s";
const text = s => s;
const columns = [["test", text], ["outcome", text], ["memory", size], ["cpu", time], ["wall", time], ["pids", String], ["disk", size], ["read", size], ["written", size]];
const TAGS = columns.length;  // the words that a test can be found by beside its outcome
const units = new Map([[size, {"": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40}], [time, {"": 1, ms: .001, s: 1, m: 60, h: 3600}], [String, {"": 1}]]);
const holds = {">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b, "=": (a, b) => a === b};
const WORDS = {violation: "with a violation", "no-sandbox": "without a sandbox", "left-processes": "left processes", network: "tried the network", "no-namespaces": "without namespaces"};
const BAD = ["failed", "error"], OUTCOMES = ["failed", "error", "passed", "xfailed", "xpassed", "skipped"];
const FEW = 100, MORE = 1000, OPENED = 3;

// What a terminal would obey, and colours, are nothing on a page
const plain = s => s.replace(/\x1b\[[0-9;]*m/g, "").replace(/[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
function make(name, content, attributes) {
  const node = document.createElement(name);
  if (typeof content === "string") node.textContent = plain(content);
  else if (content) node.append(...[content].flat(2).filter(Boolean));
  for (const [key, value] of Object.entries(attributes || {})) value === null || node.setAttribute(key, value);
  return node;
}

const tests = read("tests"), idle = columns.map((_, n) => n > 5 && tests.every(test => !test[n]));  // columns without a figure
const numbers = tests.map((_, n) => n), chosen = new Set(), closed = new Set(), opened = new Set();
let details = null;  // megabytes, for who opens a row
const told = n => (details ??= read("details")).tests[n], common = n => n === undefined ? [] : (told(0), details.common[n]);
let by = null, down = true, limit = FEW, inTree = false;
const element = id => document.getElementById(id);
const heads = element("heads"), rows = element("rows"), search = element("search"), tree = element("tree"), more = element("more");

// A command to paste: in a shell's quotes, and without anything that a terminal would obey
function quoted(word) {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (!/[^\x20-\x7e\u00a1-\u1fff\u3041-\ud7ff]/.test(word)) return "'" + word.replaceAll("'", "'\\''") + "'";
  const bytes = c => [...new TextEncoder().encode(c)].map(byte => "\\x" + byte.toString(16).padStart(2, "0")).join("");
  return "$'" + [...word].map(c => "'\\".includes(c) ? "\\" + c : c >= " " && c <= "~" ? c : bytes(c)).join("") + "'";
}
async function copy(button, words) {
  try { await navigator.clipboard.writeText(words) } catch {
    const area = make("textarea", words); document.body.append(area); area.select();
    document.execCommand("copy"); area.remove();
  }
  const before = button.textContent; button.textContent = "copied"; setTimeout(() => { button.textContent = before }, 1200);
}
function command(words) {
  const button = make("button", "copy", {class: "copy"}); button.onclick = () => copy(button, words);
  return make("div", [make("code", words), button], {class: "command"});
}
for (const button of document.querySelectorAll("[data-copy]")) button.onclick = () => copy(button, button.dataset.copy);

function wish(word) {  // one word of the search: a figure to compare, or text to find
  const found = /^([a-z]+)(>=|<=|>|<|=)(\d+\.?\d*)([a-z]*)$/.exec(word);
  const n = found ? columns.findIndex(([title]) => title === found[1]) : -1;
  const unit = n < 2 ? undefined : units.get(columns[n][1])[found[4].replace(/ib$/, "")];
  if (unit === undefined) return test => (test[0] + " " + test[1] + " " + test[TAGS]).toLowerCase().includes(word);
  return test => test[n] !== null && holds[found[2]](test[n], found[3] * unit);  // what was not measured is in no comparison
}
const compared = (a, b) => a < b ? -1 : a > b ? 1 : 0;
function order(a, b) {
  if (by === null) {  // failures first, and the heaviest
    const bad = BAD.includes(tests[b][1]) - BAD.includes(tests[a][1]);
    return bad || compared(tests[b][2] ?? -1, tests[a][2] ?? -1);
  }
  const [x, y] = [tests[a][by], tests[b][by]];  // what was not measured comes last, whichever way
  if (x === null || y === null) return (x === null) - (y === null);
  return compared(x, y) * (down ? -1 : 1);
}
const has = (test, word) => test[1] === word || test[TAGS].split(" ").includes(word);
function found() {
  const wishes = search.value.toLowerCase().split(/\s+/).map(wish);
  const outcomes = OUTCOMES.filter(each => chosen.has(each)), tags = [...chosen].filter(each => !OUTCOMES.includes(each));
  return numbers.filter(n => (!outcomes.length || outcomes.includes(tests[n][1])) && tags.every(tag => has(tests[n], tag)) && wishes.every(holds => holds(tests[n]))).sort(order);
}

columns.forEach(([title], n) => {
  const button = make("button", title), head = make("th", button);
  button.onclick = () => { down = by === n ? !down : n > 1; by = n; draw() };
  head.hidden = idle[n]; heads.append(head);
});
function chips() {
  const counts = new Map();
  for (const test of tests) for (const word of [test[1], ...test[TAGS].split(" ").filter(Boolean)]) counts.set(word, (counts.get(word) || 0) + 1);
  const words = [...OUTCOMES.filter(each => counts.has(each)), ...[...counts.keys()].filter(each => !OUTCOMES.includes(each)).sort()];
  element("chips").replaceChildren(...words.map(word => {
    const button = make("button", counts.get(word) + " " + (WORDS[word] || word), {class: word, "aria-pressed": chosen.has(word)});
    button.onclick = () => { chosen.has(word) ? chosen.delete(word) : chosen.add(word); limit = FEW; chips(); draw() };
    return button;
  }));
}

function row(n) {
  const test = tests[n], name = inTree ? test[0].slice(test[0].indexOf("::") + 2) : test[0];
  const button = make("button", name, {class: "open name", "aria-expanded": opened.has(n)});
  const cells = columns.map(([title, show], at) => {
    if (at === 0) return make("td", button);
    const cell = make("td", test[at] === null ? "–" : show(test[at]), at > 1 ? {"data-of": title} : {class: test[at]});
    if (!test[at] || at === 5 && test[at] === 1) cell.classList.add("few");
    cell.hidden = idle[at];
    if (at === 1) cell.append(...test[TAGS].split(" ").filter(Boolean).flatMap(tag => [" ", make("span", tag.replaceAll("-", " "), {class: "tag " + tag})]));
    return cell;
  });
  const line = make("tr", cells, {class: "test"});
  line.onclick = event => { if (!String(getSelection())) { opened.has(n) ? opened.delete(n) : opened.add(n); draw() } event.stopPropagation() };
  line.dataset.n = n;
  return opened.has(n) ? [line, make("tr", make("td", panel(n), {colspan: columns.length}), {class: "detail"})] : [line];
}
function draw() {
  const all = found();
  [...heads.children].forEach((head, n) => {
    head.setAttribute("aria-sort", n === by ? (down ? "descending" : "ascending") : "none");
    head.firstChild.textContent = columns[n][0] + (n === by ? (down ? " ↓" : " ↑") : "");
  });
  const shown = inTree ? byFile(all) : all.slice(0, limit).flatMap(row);
  rows.replaceChildren(...shown);
  const count = rows.querySelectorAll("tr.test").length;
  element("shown").textContent = (inTree ? all.length : count) + " of " + (inTree ? tests.length : all.length) + (inTree ? " tests" : " shown");
  more.hidden = inTree || all.length <= limit;
}
function byFile(all) {
  const files = new Map();
  for (const n of all) { const file = tests[n][0].split("::", 1)[0]; files.has(file) ? files.get(file).push(n) : files.set(file, [n]) }
  let room = limit;
  return [...files].sort(([a, x], [b, y]) => by === null ? bad(y) - bad(x) || compared(a, b) : 0).flatMap(([file, inside], at) => {
    const counts = OUTCOMES.map(each => [each, inside.filter(n => tests[n][1] === each).length]).filter(([, count]) => count);
    const isOpen = closed.has(file) ? false : closed.has("+" + file) || bad(inside) > 0 && room > 0 || files.size === 1;
    const button = make("button", file, {class: "open name", "aria-expanded": isOpen});
    const told = make("td", counts.map(([each, count], at) => [at ? ", " : "", make("span", count + " " + each, {class: each})]).flat(), {colspan: columns.length - 1});
    const head = make("tr", [make("td", button), told], {class: "file"});
    head.onclick = () => { closed.delete(isOpen ? "+" + file : file); closed.add(isOpen ? file : "+" + file); draw() };
    const most = closed.has("+" + file) ? MORE : room;
    const inner = isOpen ? inside.slice(0, most).flatMap(row) : [];
    if (isOpen) room -= inside.length;
    if (isOpen && inside.length > most) inner.push(make("tr", make("td", "and " + (inside.length - most) + " more: search for them", {colspan: columns.length, class: "dim"})));
    return [head, ...inner];
  });
}
const bad = inside => inside.filter(n => BAD.includes(tests[n][1])).length;

// What a row opens to
const USED = {memory: 2, cpu_time: 3, timeout: 4, pids: 5, disk: 6};
const list = (title, items, more) => items && items.length ? [make("h3", title), make("ul", [items.map(each => make("li", each)), more ? make("li", more, {class: "dim"}) : null])] : [];
const grid = (titles, lines) => make("table", [make("thead", make("tr", titles.map(each => make("th", each)))), make("tbody", lines.map(line => make("tr", line.map(each => make("td", String(each))))))], {class: "inner"});
function tale(words) {  // pytest's text of a failure, its lines of what was raised in red
  const lines = plain(words).split("\n");
  return make("pre", lines.flatMap((line, at) => [/^E( |$)|^isolate: /.test(line) ? make("span", line, {class: "at"}) : document.createTextNode(line), at < lines.length - 1 ? "\n" : null]));
}
const folded = (title, words, isOpen) => make("details", [make("summary", title), make("pre", words)], {open: isOpen ? "" : null});
function panel(n) {
  const test = tests[n], all = told(n), parts = [];
  const link = make("a", "link to this test", {href: "#" + encodeURIComponent(test[0].toWellFormed())});
  link.onclick = event => event.stopPropagation();
  const where = [test[0].split("::", 1)[0] + (all.line ? ":" + all.line : ""), all.worker, all.job === undefined ? null : "job " + (all.job + 1), all.verdict && "verdict " + all.verdict.replaceAll("_", " ")];
  parts.push(make("p", [where.filter(Boolean).join(" · ") + " · ", link], {class: "dim"}), command("pytest " + quoted(test[0])));
  const failure = all.failure || "";  // pytest's own text, which says most of it: nothing stands here twice
  const said = [...all.violations || [], all.reason].filter(each => each && !failure.includes(each));
  parts.push(...said.map(each => make("div", each, {class: "said"})));
  if (failure && !(all.reason && said.includes(all.reason))) parts.push(tale(failure));
  if (all.output) parts.push(folded("output", all.output, BAD.includes(test[1])));
  (all.retries || []).forEach((words, at) => parts.push(folded("attempt " + (at + 1) + ", which was followed by another", words)));
  const limits = common(all.limits), facts = [];  // beside each other where there is room
  const fact = (...inside) => facts.push(make("div", inside));
  if (limits.length) fact(make("h3", "Limits"), grid(["limit", "", "used", "set"], limits.map(([name, shown, value, origin]) => {
    const used = test[USED[name]] ?? null;
    return [name, shown, used === null ? "" : columns[USED[name]][1](used) + " (" + Math.round(100 * used / value) + " %)", origin];
  })));
  if (all.memory) fact(make("h3", "Memory over time" + (all.largest ? ", at the highest " + all.largest : "")), curve(all.memory, all.limit));
  for (const [kind, [count, paths]] of Object.entries(all.files || {})) fact(...list(count + " " + (count === 1 ? "file" : "files") + " " + kind, paths, count > paths.length ? "and " + (count - paths.length) + " more" : null));
  for (const [title, items] of [["Tried to leave its network", all.attempts], ["Servers that it could reach", all.servers], ["Processes left behind, and killed", all.left]]) if (items) fact(...list(title, items));
  if (all.links) fact(make("h3", "Its network: what each end of a link sent"), grid(["from", "to", "packets", "bytes", "dropped"], all.links));
  const walls = common(all.walls), sampled = common(all.sampled);
  if (walls.length) fact(make("h3", walls.includes("namespaces") ? "Kept apart by" : "No namespaces here: kept apart by"), make("p", [...walls, ...sampled.map(each => each + " by sampling")].join(", ")));
  parts.push(make("div", facts, {class: "facts-beside"}));
  return parts;
}
function curve(samples, limit) {
  const [width, height, left, top] = [540, 120, 62, 10], last = samples[samples.length - 1][0] || 1, highest = Math.max(...samples.map(each => each[1]), 1);
  const near = limit && limit / 1024 < 3 * highest, up = Math.max(highest, near ? limit / 1024 : 0) * 1.08;
  const x = ms => left + (width - left - 8) * ms / last, y = kib => top + (height - top - 20) * (1 - kib / up);
  const draw = (name, attributes, words) => { const node = document.createElementNS("http://www.w3.org/2000/svg", name); for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value); if (words) node.textContent = words; return node };
  const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "memory over time"});
  const points = samples.map(([ms, kib]) => x(ms).toFixed(1) + "," + y(kib).toFixed(1)).join(" ");
  svg.append(draw("polygon", {points: `${x(samples[0][0])},${y(0)} ${points} ${x(last)},${y(0)}`, fill: "#4c8fd8", opacity: .18}), draw("polyline", {points, fill: "none", stroke: "#4c8fd8", "stroke-width": 1.6}));
  svg.append(draw("line", {x1: left, x2: width - 8, y1: y(0), y2: y(0), stroke: "#84898f"}), draw("text", {x: left, y: height - 5}, "0"), draw("text", {x: width - 8, y: height - 5, "text-anchor": "end"}, time(last / 1000)), draw("text", {x: left - 6, y: y(highest) + 4, "text-anchor": "end"}, size(Math.round(highest) * 1024)));
  if (near) svg.append(draw("line", {x1: left, x2: width - 8, y1: y(limit / 1024), y2: y(limit / 1024), stroke: "#d2453d", "stroke-dasharray": "5 4"}), draw("text", {x: left + 4, y: y(limit / 1024) + (y(limit / 1024) < 22 ? 13 : -4)}, "limit " + size(limit)));
  return svg;
}

search.oninput = () => { limit = FEW; draw() };
tree.onchange = () => { inTree = tree.checked; limit = FEW; draw() };
more.onclick = () => { limit += MORE; draw() };

// #nodeid: that test, whatever is filtered
function go() {
  let name; try { name = decodeURIComponent(location.hash.slice(1)) } catch { return }
  const n = name ? tests.findIndex(test => test[0].toWellFormed() === name) : -1;
  if (n < 0) return;
  if (!found().includes(n)) { search.value = ""; chosen.clear(); chips() }
  if (inTree) closed.add("+" + tests[n][0].split("::", 1)[0]);
  limit = Math.max(limit, found().indexOf(n) + 1);
  opened.add(n); draw();
  rows.querySelector(`tr[data-n="${n}"]`)?.scrollIntoView();
}
addEventListener("hashchange", go);
const failing = found().filter(n => BAD.includes(tests[n][1]));
if (!location.hash && failing.length <= OPENED) failing.forEach(n => opened.add(n));
chips(); draw(); go();

const {plots, legend} = read("plots"), drawn = new Set(plots.map(plot => plot.target_id));
for (const plot of plots) Bokeh.embed.embed_item(plot);
if (!drawn.has("timeline")) element("timeline").textContent = "No test ran inside.";
if (!drawn.has("memory")) element("memory").textContent = "No test took long enough to be looked at twice (40 ms).";
element("legend").append(...legend.map(([name, color, peak, most]) => {
  const square = make("span", "■ "); square.style.color = color;
  return make("li", [square, make("a", name, {href: "#" + encodeURIComponent(name.toWellFormed())}), make("span", " " + size(peak) + (most ? " of " + size(most) : ""), {class: "dim"})]);
}));
