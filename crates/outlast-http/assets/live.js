// A socket that opens again by itself and goes on where it was. Sockets and not server-sent events,
// because a browser opens only six of those to one server, over all of its tabs.

import { at, get } from "./api.js";
import { reached } from "./connection.js";

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5000;

// Calls `told` with each message. `place` is where to begin; each message carries the place after it.
// `over` is called when the server has told everything, `again` when something may have been missed: it
// was reached again, or answers but refuses the socket, so that whoever follows has to ask.
export function live(path, { place, told, over = () => {}, again = () => {} }) {
  let [socket, pause, timer, closed, opened] = [null, FIRST_PAUSE, null, false, false];

  function open() {
    const address = at(path);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (place !== undefined) address.searchParams.set("after", place);
    socket = new WebSocket(address);
    let greeted = false;
    socket.onopen = () => {
      greeted = true;
      pause = FIRST_PAUSE;
      reached(true);
      if (opened) again();
      opened = true;
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.id !== undefined) place = message.id;
      told(message);
    };
    socket.onclose = ({ code }) => {
      if (closed) return;
      if (code === 1000) {
        closed = true;
        over();
        return;
      }
      if (greeted) reached(false);
      else refused();
      // Not all at the same moment after a restart.
      timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    };
  }

  // A browser does not say why a socket was not opened. Another request finds out: it says on the page that
  // nothing can be reached, or that one has to sign in again.
  async function refused() {
    try {
      await get("/tasks?limit=1");
    } catch {
      return;
    }
    if (!closed) again();
  }

  const now = () => {
    if (closed || socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(timer);
    open();
  };
  addEventListener("online", now);
  open();

  return {
    close() {
      closed = true;
      clearTimeout(timer);
      removeEventListener("online", now);
      socket.close();
    },
  };
}
