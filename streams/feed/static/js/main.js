/** Puts the page together: sign in, open the stream, then one loop that draws what changed. */
import { Actions } from "./actions.js";
import { Forecasts } from "./bands.js";
import { session, signOut } from "./api.js";
import { Banner } from "./banner.js";
import { Cover } from "./cover.js";
import { h } from "./dom.js";
import { Help } from "./help.js";
import { t } from "./i18n.js";
import { listen } from "./keys.js";
import { Panel } from "./panel.js";
import { askToken } from "./signin.js";
import { isLoud, Store, toneOf } from "./store.js";
import { Stream } from "./stream.js";
import { Trends } from "./strips.js";
import { settings, Themes } from "./themes.js";
import { Top } from "./top.js";
import { Wall } from "./wall.js";

const byId = (id) => document.getElementById(id);
const TOAST_MS = 6000;
const RETRY_MS = 2000;

async function who() {
  for (;;) {
    try {
      return (await session()) ?? (await askToken(byId("sign-in")));
    } catch (unreachable) {
      say(byId("say-soon"), unreachable.message);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function say(region, words) {
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = words; });
}

let toastTimer = 0;
function toast(words) {
  clearTimeout(toastTimer);
  byId("toast").replaceChildren(h("p", { text: words }));
  toastTimer = setTimeout(() => byId("toast").replaceChildren(), TOAST_MS);
}

async function start(user) {
  const touched = navigator.userActivation?.hasBeenActive ?? false; // as the page began, not when its parts had come
  // A replay has no code that could sound: sound.js is not even served to its page.
  const { Sound, soundingPriority } = await import(user.silent ? "./silence.js" : "./sound.js");
  byId("app").hidden = false;
  const store = new Store(user.replay);
  const trends = new Trends(user.replay !== null);
  const forecasts = new Forecasts();
  const actions = new Actions(store, user);
  const themes = new Themes();
  const sound = new Sound(settings.volume);
  const stream = new Stream(store);
  const wall = new Wall(byId("wall"), store, trends, actions);
  const panel = new Panel(byId("panel"), store, trends, forecasts, actions);
  const banner = new Banner(byId("banner"), store, actions);
  const top = new Top(byId("top"), byId("foot"), store, user);
  const cover = new Cover(byId("cover"), [byId("banner"), byId("main")], user.replay);
  const help = new Help(byId("help"), settings, sound, themes, user);
  const bar = user.replay === null ? null : new (await import("./replaybar.js")).ReplayBar(byId("replay"), user, store);
  let changed = true;

  const bedOf = (alarm) => store.beds.get(`${alarm.ward}/${alarm.bed}`);
  const worst = (bed) => bed.alarms.find(isLoud) ?? bed.worst ?? bed.advisories.find(isLoud) ?? bed.advisories[0];
  const withBed = (then) => () => {
    const bed = panel.open ? store.beds.get(panel.key) : wall.bed();
    if (bed) then(bed);
    else toast(t("act.pick"));
  };
  const showWhy = (bed, alarm = worst(bed)) => (alarm ? panel.why(bed, alarm) : toast(t("act.nothing", { bed: bed.tile.bed })));
  const closePanel = () => {
    panel.close();
    if (wall.chosen) wall.choose(wall.chosen, true);
  };
  const pressSound = async () => {
    if (sound.state === "silent") return toast(t("replay.silent_long"));
    if (sound.state === "none") toast(t("sound.none"));
    else if (sound.state !== "armed") {
      if (await sound.arm()) sound.selfTest();
    } else if (sound.selfTest()) toast(t("sound.tested"));
  };

  actions.addEventListener("say", ({ detail }) => toast(detail));
  banner.addEventListener("say", ({ detail }) => toast(detail));
  banner.addEventListener("acknowledge", ({ detail: alarm }) => actions.acknowledge(bedOf(alarm), alarm));
  banner.addEventListener("why", ({ detail: alarm }) => {
    wall.choose(`${alarm.ward}/${alarm.bed}`, false);
    showWhy(bedOf(alarm), alarm);
  });
  wall.addEventListener("open", ({ detail: bed }) => bed && panel.show(bed));
  panel.addEventListener("why", ({ detail: alarm }) => showWhy(bedOf(alarm), alarm));
  panel.addEventListener("close", closePanel);
  top.addEventListener("sound", pressSound);
  top.addEventListener("theme", () => { themes.next(); toast(t("theme.next", { theme: t(`theme.${themes.current}`) })); });
  top.addEventListener("help", () => help.open());
  top.addEventListener("ward", ({ detail: ward }) => {
    panel.close();
    trends.clear();
    forecasts.clear();
    store.clear();
    stream.open(ward);
  });
  help.addEventListener("test", pressSound);
  help.addEventListener("out", async () => {
    await signOut();
    location.reload();
  });
  themes.addEventListener("change", () => { wall.repaint(); panel.repaint(); });
  stream.addEventListener("signedout", () => location.reload());
  stream.addEventListener("replay", ({ detail }) => {
    bar?.tell(detail);
    top.say(bar?.summary ?? "");
  });
  bar?.addEventListener("say", ({ detail }) => toast(detail));
  sound.addEventListener("state", ({ detail: { lost } }) => {
    changed = true;
    if (lost) {
      toast(t("sound.lost_said"));
      say(byId("say-now"), t("sound.lost_said"));
    }
  });
  store.addEventListener("alarm", ({ detail: { step, bed, loud, advised, fresh } }) => {
    changed = true;
    if (loud) wall.resort();
    if (user.silent) return; // spoken words call people too
    if (document.hidden) drawSafely();
    if (advised) say(byId("say-soon"), t("say.advisory", { bed: bed.tile.bed, message: step.message }));
    if (!loud) return;
    const key = fresh ? "say.alarm" : "say.realarm";
    const words = t(key, { priority: t(`priority.${toneOf(step)}`), bed: bed.tile.bed, message: step.message });
    say(byId(step.priority === "high" ? "say-now" : "say-soon"), words);
  });
  const named = /^#bed=(.+)$/.exec(location.hash);
  store.addEventListener("reset", () => {
    const bed = named && store.beds.get(decodeURIComponent(named[1]));
    if (!bed || panel.open) return;
    wall.choose(bed.key, false);
    panel.show(bed);
  }, { once: true });
  for (const name of ["reset", "beds", "cleared"]) store.addEventListener(name, () => { changed = true; });
  actions.addEventListener("changed", () => { changed = true; });

  listen(settings, {
    move: (dx, dy) => wall.move(dx, dy),
    open: withBed((bed) => panel.show(bed)),
    back: () => { if (panel.open && panel.back()) closePanel(); },
    acknowledge: withBed((bed) => actions.acknowledge(bed)),
    pause: withBed((bed) => actions.pause(bed)),
    why: withBed((bed) => showWhy(bed)),
    sound: pressSound,
    help: () => help.open(),
  }, () => document.querySelector("dialog[open]") !== null || cover.on);

  let lastSecond = -1;
  let open = [];
  let advised = [];
  const draw = () => {
    const second = Math.floor(performance.now() / 500);
    const tick = second !== lastSecond;
    lastSecond = second;
    const health = stream.health();
    const fell = cover.judge(health, store.logMs);
    if (fell && !user.silent) say(byId("say-now"), t(`cover.${health.state}`));
    if (changed || store.dirty.size) {
      open = store.openAlarms();
      advised = store.openAdvisories();
    }
    const busy = changed || tick || store.dirty.size > 0;
    changed = false;
    if (!cover.on) wall.frame(tick);
    if (busy) {
      bar?.frame();
      top.frame([...open, ...advised]);
      if (!cover.on) banner.frame(open, advised.length);
      panel.frame();
      sound.want(cover.on ? "medium" : soundingPriority(open, store.nowMs()));
      top.soundState(sound.state, sound.state === "armed" ? sound.wanted : null);
    }
    if (tick) top.second(health);
    sound.tick();
  };
  // A fault in drawing must neither end the drawing nor leave an old picture up: it covers the wall and is reported.
  let faultAt = null;
  const drawSafely = () => {
    try {
      draw();
      faultAt = null;
    } catch (fault) {
      if (faultAt === null) reportError(fault);
      faultAt ??= performance.now();
      cover.judge({ state: "fault", forMs: performance.now() - faultAt }, store.logMs);
    }
  };
  const loop = () => {
    requestAnimationFrame(loop);
    drawSafely();
  };
  requestAnimationFrame(loop);
  // A hidden tab gets no animation frames; its alarms must sound all the same.
  setInterval(() => { if (document.hidden) drawSafely(); }, 1000);
  stream.open("");
  if (touched) sound.tryArm();
}

byId("foot").append(h("b", { text: t("app.not_a_device") }));
start(await who());
