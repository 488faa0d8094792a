/**
 * Alarm sound by WebAudio. The pulse patterns are like those of IEC 60601-1-8 (high 5 pulses twice, medium 3, low 2,
 * a fundamental with 4 harmonics, 25 ms ramps); they were not tested against the standard, and the page says so.
 * It cannot be switched off, only paused for a bed by the alarm system. No gesture, no sound: then the page says that.
 */
const RAMP_S = 0.025;
const HARMONICS = [1, 0.6, 0.5, 0.4, 0.3]; // all within 15 dB of the fundamental
const LOUDEST = 0.5;
const QUIETEST = 0.2;

/** starts: when each pulse begins, in seconds; every: seconds from burst to burst. */
export const BURSTS = {
  high: { hertz: 880, pulse: 0.15, starts: [0, 0.25, 0.5, 1.0, 1.25, 2.0, 2.25, 2.5, 3.0, 3.25], every: 7 },
  medium: { hertz: 660, pulse: 0.2, starts: [0, 0.4, 0.8], every: 14 },
  low: { hertz: 523, pulse: 0.2, starts: [0, 0.4], every: 28 },
};
const RANK = { high: 3, medium: 2, low: 1 };

export class Sound extends EventTarget {
  constructor(volume) {
    super();
    this.context = null;
    this.armed = false;
    this.state = "AudioContext" in window ? "off" : "none";
    this.volume = volume;
    this.wanted = null;
    this.playing = null;
    this.nextAt = 0;
    this.until = 0;
    this.nodes = [];
  }

  /** Sound without a gesture, where the browser allows it (a kiosk started with that flag). */
  async tryArm() {
    if (this.state === "none" || !navigator.userActivation?.hasBeenActive) return;
    await this.arm();
  }

  /** Arms the sound; must be called from a gesture. */
  async arm() {
    if (this.state === "none") return false;
    if (!this.context || this.context.state === "closed") {
      this.context = new AudioContext();
      this.context.addEventListener("statechange", () => this.#judge());
      this.out = this.context.createGain();
      this.out.connect(this.context.destination);
    }
    this.armed = true;
    this.setVolume(this.volume);
    await this.context.resume();
    this.#judge();
    return this.state === "armed";
  }

  /** Volume from 0 to 1; it never reaches silence. */
  setVolume(volume) {
    this.volume = Math.min(1, Math.max(QUIETEST, volume));
    if (this.out) this.out.gain.value = this.volume * LOUDEST;
  }

  /** What is to sound now: high, medium, low or null. A higher one interrupts at once. */
  want(priority) {
    const higher = priority && (!this.playing || RANK[priority] > RANK[this.playing]);
    this.wanted = priority;
    if (!priority) this.#stop();
    if (higher) {
      this.#stop();
      this.nextAt = 0;
    }
    this.tick();
  }

  /** Starts the next burst when it is due; called a few times a second. */
  tick() {
    if (this.state !== "armed" || !this.wanted) return;
    const now = performance.now();
    if (now < this.nextAt) return;
    this.playing = this.wanted;
    const length = this.#burst(BURSTS[this.wanted], this.context.currentTime + 0.03);
    this.until = now + length * 1000;
    this.nextAt = now + BURSTS[this.wanted].every * 1000;
    this.dispatchEvent(new CustomEvent("burst", { detail: this.wanted }));
  }

  /** High, medium and low one after the other. */
  selfTest() {
    if (this.state !== "armed") return false;
    let at = this.context.currentTime + 0.05;
    for (const priority of ["high", "medium", "low"]) at += this.#burst(BURSTS[priority], at) + 0.6;
    return true;
  }

  #judge() {
    const running = this.context?.state === "running";
    const state = running && this.armed ? "armed" : this.armed ? "lost" : "off";
    if (state === this.state) return;
    const lost = state === "lost";
    this.state = state;
    this.nextAt = 0;
    this.dispatchEvent(new CustomEvent("state", { detail: { lost } }));
  }

  #burst({ hertz, pulse, starts }, at) {
    const envelope = this.context.createGain();
    envelope.gain.value = 0;
    envelope.connect(this.out);
    const sum = HARMONICS.reduce((total, level) => total + level, 0);
    const end = at + starts.at(-1) + pulse + 0.05;
    HARMONICS.forEach((level, n) => {
      const tone = this.context.createOscillator();
      const gain = this.context.createGain();
      tone.frequency.value = hertz * (n + 1);
      gain.gain.value = level / sum;
      tone.connect(gain).connect(envelope);
      tone.start(at);
      tone.stop(end);
      this.nodes.push(tone);
      tone.onended = () => {
        this.nodes = this.nodes.filter((node) => node !== tone);
        if (n === 0) envelope.disconnect();
      };
    });
    for (const start of starts) {
      envelope.gain.setValueAtTime(0, at + start);
      envelope.gain.linearRampToValueAtTime(1, at + start + RAMP_S);
      envelope.gain.setValueAtTime(1, at + start + pulse - RAMP_S);
      envelope.gain.linearRampToValueAtTime(0, at + start + pulse);
    }
    return end - at;
  }

  #stop() {
    for (const node of this.nodes) node.stop();
    this.playing = null;
    this.nextAt = 0;
  }
}

/** The priority that must sound: the highest of the alarms that are unacknowledged and not paused. */
export function soundingPriority(alarms, nowMs) {
  let found = null;
  for (const alarm of alarms) {
    if (alarm.state !== "active" && alarm.state !== "latched") continue;
    if (alarm.audio_until_ms && alarm.audio_until_ms > nowMs) continue;
    if (!found || RANK[alarm.priority] > RANK[found]) found = alarm.priority;
  }
  return found;
}
