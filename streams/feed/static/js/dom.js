/** Small, safe DOM building: text is always text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An element. props: `class`, `text`, `on` {event: listener}, `data` {key: value}, else attributes (true: empty; false, null: none). */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An icon of the sprite in index.html; decoration, since words stand beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Points an icon at another symbol. */
export function setIcon(svg, name) {
  const href = `#i-${name}`;
  const use = svg.firstChild;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** Sets text only when it changed: an untouched node costs the browser nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets a data attribute only when it changed; null removes it. */
export function setData(node, key, value) {
  if (value === null) {
    if (key in node.dataset) delete node.dataset[key];
  } else if (node.dataset[key] !== value) node.dataset[key] = value;
}

/** A button with words, an optional icon and an optional shortcut that is shown. */
export function button(words, { kind = "", iconName = null, key = null, on, ...rest } = {}) {
  return h("button", { type: "button", class: `button ${kind}`.trim(), on: on ? { click: on } : {}, ...rest },
    iconName ? icon(iconName) : null, h("span", { class: "words", text: words }),
    key ? h("span", { class: "key", text: key, "aria-hidden": "true" }) : null);
}
