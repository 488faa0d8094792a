/** The keyboard: arrows, Enter and Esc always; single letters unless switched off (WCAG 2.1.4). */
const MOVES = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const LETTER_MOVES = { j: [1, 0], k: [-1, 0] };

/** `does` maps names to what happens: move(dx, dy), open, back, acknowledge, pause, why, sound, help. */
export function listen(settings, does, busy) {
  const letters = { a: does.acknowledge, p: does.pause, w: does.why, s: does.sound, "?": does.help };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || busy()) return;
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape") {
      does.back();
      return;
    }
    if (typing) return;
    const onTile = event.target.closest(".tile") || event.target === document.body || event.target.closest("#wall");
    const move = (onTile && MOVES[event.key]) || (settings.singleKeys && LETTER_MOVES[event.key.toLowerCase()]);
    if (move) does.move(...move);
    else if ((event.key === "Enter" || event.key === " ") && event.target.closest(".tile")) does.open();
    else if (settings.singleKeys && !event.repeat && letters[event.key.toLowerCase()]) letters[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  });
}
