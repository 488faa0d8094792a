/** In place of sound.js where a replay is shown: nothing in here can make a sound, and sound.js is not served at all. */

export class Silence extends EventTarget {
  constructor() {
    super();
    this.state = "silent";
    this.wanted = null;
  }

  async tryArm() {}

  async arm() {
    return false;
  }

  setVolume() {}

  want() {}

  tick() {}

  selfTest() {
    return false;
  }
}

export { Silence as Sound };

/** No alarm of a replay sounds. */
export const soundingPriority = () => null;
