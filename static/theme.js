// Loaded before the first paint, so that a chosen theme does not flash the other one.
try {
  const theme = localStorage.getItem("spoils-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is closed to us: the system's theme holds.
}
document.documentElement.classList.add("js");
