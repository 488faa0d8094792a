/* Runs before the first paint, so that a light wall never flashes dark. */
(function () {
  "use strict";
  var theme = null;
  try { theme = localStorage.getItem("ward.theme"); } catch (blocked) { theme = null; }
  if (theme === "dark" || theme === "light" || theme === "contrast") document.documentElement.dataset.theme = theme;
})();
