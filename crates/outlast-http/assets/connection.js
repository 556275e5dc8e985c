// Whether the server can be reached, said once for the whole page.

const banner = document.getElementById("connection");
let lostAt = null;
let fading = null;

export function reached(yes) {
  if (yes === (lostAt === null)) return;
  clearTimeout(fading);
  if (!yes) {
    lostAt = new Date();
    banner.className = "lost";
    banner.textContent = `The server cannot be reached. What you see is from ${lostAt.toLocaleTimeString()}; trying again…`;
    banner.hidden = false;
    return;
  }
  lostAt = null;
  banner.className = "found";
  banner.textContent = "Connected again.";
  fading = setTimeout(() => { banner.hidden = true; }, 4000);
}
