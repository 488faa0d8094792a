/** The wall: which tiles are where. Only those in sight exist; order changes seldom, at once on a new alarm. */
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { byWorst } from "./store.js";
import { Tile } from "./tile.js";

const GAP = 8;
const SORT_EVERY_MS = 5000;
const STRIPS_EVERY_MS = 5000;
const STRIPS_FOR = 40;
const STRIPS_AT_MOST = 12;
const SMALLEST = { w: 204, h: 112 };
const SCROLLING = { w: 244, h: 164 };
const LARGEST = { w: 560, h: 330 };
const STRIP_FROM_H = 168;

/** Columns and size for n tiles in a box: all in sight when they can be, else a comfortable size that scrolls. */
export function layout(n, width, height) {
  let best = null;
  for (let cols = 1; cols <= Math.max(1, Math.floor((width + GAP) / (SMALLEST.w + GAP))); cols += 1) {
    const rows = Math.ceil(n / cols);
    const w = Math.min(LARGEST.w, (width - GAP * (cols - 1)) / cols);
    const tall = Math.min(LARGEST.h, (height - GAP * (rows - 1)) / rows);
    if (tall < SMALLEST.h) continue;
    const worth = Math.min(w / 1.38, tall);
    if (!best || worth > best.worth) best = { cols, w: Math.floor(w), h: Math.floor(tall), worth };
  }
  if (best) return best;
  const cols = Math.max(1, Math.floor((width + GAP) / (SCROLLING.w + GAP)));
  return { cols, w: Math.floor((width - GAP * (cols - 1)) / cols), h: SCROLLING.h };
}

export class Wall extends EventTarget {
  constructor(root, store, trends, actions) {
    super();
    this.root = root;
    this.store = store;
    this.trends = trends;
    this.actions = actions;
    this.order = [];
    this.tiles = new Map();
    this.chosen = null;
    this.sortedAt = 0;
    this.stripsAt = -Infinity;
    this.stale = true;
    this.grid = { cols: 1, w: 300, h: 200 };
    this.list = h("div", { class: "beds", role: "listbox", "aria-label": t("wall.label"), id: "beds" });
    this.empty = h("p", { class: "wall-empty", text: t("wall.empty") });
    root.append(this.list, this.empty);
    this.list.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) {
        this.choose(tile.dataset.bed, true);
        this.dispatchEvent(new CustomEvent("open", { detail: this.bed() }));
      }
    });
    this.list.addEventListener("focusin", (event) => {
      const tile = event.target.closest(".tile");
      if (tile && tile.dataset.bed !== this.chosen) this.choose(tile.dataset.bed, false);
    });
    root.addEventListener("scroll", () => this.#place(), { passive: true });
    new ResizeObserver(() => this.resort()).observe(root);
    for (const name of ["reset", "cleared"]) store.addEventListener(name, () => this.resort());
    trends.addEventListener("came", ({ detail }) => this.#draw(detail));
    store.addEventListener("beds", () => { this.stale = true; });
  }

  /** The chosen bed, or null. */
  bed() {
    return this.chosen ? this.store.beds.get(this.chosen) ?? null : null;
  }

  /** Chooses a bed; with `focus` the keyboard follows. */
  choose(key, focus) {
    this.chosen = key;
    this.#place();
    const tile = this.tiles.get(key);
    if (focus) tile?.root.focus({ preventScroll: true });
    this.dispatchEvent(new CustomEvent("chosen"));
  }

  /** Moves the choice: by one, or by a row. */
  move(dx, dy) {
    if (!this.order.length) return;
    const at = this.order.indexOf(this.chosen);
    const next = at < 0 ? 0 : Math.min(this.order.length - 1, Math.max(0, at + dx + dy * this.grid.cols));
    this.#reveal(next);
    this.choose(this.order[next], true);
  }

  /** Sorts now: on a new alarm, a new wall or another size. */
  resort() {
    this.stale = true;
    this.sortedAt = 0;
  }

  /** One animation frame: what changed since the last, for tiles in sight only. */
  frame(second) {
    const now = performance.now();
    const dirty = this.store.takeDirty();
    for (const key of dirty) {
      const bed = this.store.beds.get(key);
      if (bed) this.trends.append(bed);
    }
    if (this.stale || (dirty.size && now - this.sortedAt > SORT_EVERY_MS)) this.#sort(now);
    for (const [key, tile] of this.tiles) {
      const bed = this.store.beds.get(key);
      if (bed && (second || dirty.has(key))) tile.update(bed, this.store.nowMs(bed.tile.ward), this.actions.isPending(key));
    }
    if (now - this.stripsAt > STRIPS_EVERY_MS) this.#strips(now);
  }

  /** Draws all strips anew: another theme has other colours. */
  repaint() {
    for (const tile of this.tiles.values()) tile.dropStrips();
    this.stripsAt = -Infinity;
  }

  #sort(now) {
    const beds = [...this.store.beds.values()].sort(byWorst);
    const order = beds.map((bed) => bed.key);
    this.sortedAt = now;
    this.stale = false;
    this.order = order;
    this.position = new Map(order.map((key, n) => [key, n]));
    this.empty.hidden = order.length > 0;
    if (this.chosen && !this.store.beds.has(this.chosen)) this.chosen = null;
    this.#place();
  }

  #place() {
    const style = getComputedStyle(this.root);
    const width = this.root.clientWidth - parseFloat(style.paddingInlineStart) - parseFloat(style.paddingInlineEnd);
    const height = this.root.clientHeight - parseFloat(style.paddingBlockStart) - parseFloat(style.paddingBlockEnd);
    if (width < 100 || height < 60) return;
    const grid = layout(this.order.length, width, height);
    // A tile glides to its new place in the order; another size of all tiles is no event to watch.
    const same = grid.w === this.grid.w && grid.h === this.grid.h && grid.cols === this.grid.cols;
    this.root.classList.toggle("settled", same);
    if (!same) this.stripsAt = -Infinity;
    this.grid = grid;
    const pitch = grid.h + GAP;
    const rows = Math.ceil(this.order.length / grid.cols);
    this.list.style.height = `${Math.max(0, rows * pitch - GAP)}px`;
    const first = Math.max(0, Math.floor(this.root.scrollTop / pitch) - 1) * grid.cols;
    const last = Math.min(this.order.length, (Math.ceil((this.root.scrollTop + this.root.clientHeight) / pitch) + 1) * grid.cols);
    const seen = this.order.slice(first, last).filter((key) => this.store.beds.has(key));
    const keep = new Set(seen);
    const focused = document.activeElement?.closest?.(".tile")?.dataset.bed ?? null;
    for (const [key, tile] of this.tiles) {
      if (!keep.has(key) || !this.store.beds.has(key)) {
        tile.remove();
        this.tiles.delete(key);
      }
    }
    let before = null;
    const anchor = this.chosen && keep.has(this.chosen) ? this.chosen : seen[0];
    for (let n = seen.length - 1; n >= 0; n -= 1) {
      const key = seen[n];
      let tile = this.tiles.get(key);
      if (!tile) {
        const bed = this.store.beds.get(key);
        tile = new Tile(bed, this.store.replay);
        this.tiles.set(key, tile);
        tile.update(bed, this.store.nowMs(bed.tile.ward), this.actions.isPending(key));
        this.stripsAt = -Infinity;
      }
      if (tile.root.parentNode !== this.list || tile.root.nextSibling !== before) this.list.insertBefore(tile.root, before);
      before = tile.root;
      this.#put(tile, first + n, grid, pitch);
      tile.root.tabIndex = key === anchor ? 0 : -1;
      tile.root.setAttribute("aria-selected", String(key === this.chosen));
    }
    if (focused && keep.has(focused) && document.activeElement !== this.tiles.get(focused).root) {
      this.tiles.get(focused).root.focus({ preventScroll: true });
    }
  }

  #put(tile, index, grid, pitch) {
    const x = (index % grid.cols) * (grid.w + GAP);
    const y = Math.floor(index / grid.cols) * pitch;
    const place = `${x},${y},${grid.w},${grid.h},${index},${this.order.length}`;
    if (tile.place === place) return;
    tile.place = place;
    const { style } = tile.root;
    style.width = `${grid.w}px`;
    style.height = `${grid.h}px`;
    style.transform = `translate(${document.dir === "rtl" ? -x : x}px, ${y}px)`;
    tile.root.setAttribute("aria-posinset", index + 1);
    tile.root.setAttribute("aria-setsize", this.order.length);
  }

  #reveal(index) {
    const pitch = this.grid.h + GAP;
    const top = Math.floor(index / this.grid.cols) * pitch;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top + this.grid.h > this.root.scrollTop + this.root.clientHeight) this.root.scrollTop = top + this.grid.h - this.root.clientHeight + GAP;
  }

  #strips(now) {
    this.stripsAt = now;
    this.trends.tidy();
    for (const key of this.tiles.keys()) this.#draw(key);
  }

  #draw(key) {
    const tile = this.tiles.get(key);
    const bed = this.store.beds.get(key);
    if (!tile || !bed) return;
    const few = this.order.length <= STRIPS_FOR;
    const wanted = this.grid.h >= STRIP_FROM_H && (few || this.position.get(key) < STRIPS_AT_MOST || key === this.chosen);
    tile.strips(bed, wanted ? this.trends.of(bed) : null, bed.tile.at_ms || this.store.nowMs(bed.tile.ward), wanted);
  }
}
