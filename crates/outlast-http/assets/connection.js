// Whether the server can be reached, said once for the whole page. While it cannot, this module asks by itself:
// not every page has a socket. Pages that show what they read once listen for the event `reached`.

const banner = document.getElementById("connection");
const PAUSE = 2000;
let lostAt = null;
let fading = null;
let asking = null;

async function ask() {
  try {
    await fetch(new URL("health/live", document.baseURI));
  } catch {
    return;
  }
  reached(true);
}

export function reached(yes) {
  if (yes === (lostAt === null)) return;
  clearTimeout(fading);
  if (!yes) {
    lostAt = new Date();
    banner.className = "lost";
    banner.textContent = `The server cannot be reached. What you see is from ${lostAt.toLocaleTimeString()}; trying again…`;
    banner.hidden = false;
    asking = setInterval(ask, PAUSE);
    return;
  }
  lostAt = null;
  clearInterval(asking);
  dispatchEvent(new Event("reached"));
  banner.className = "found";
  banner.textContent = "Connected again.";
  fading = setTimeout(() => { banner.hidden = true; }, 4000);
}
