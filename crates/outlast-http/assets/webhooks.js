// Who is told of a task over HTTP, and what has become of telling them.

import { h } from "./dom.js";
import { section, since, time } from "./parts.js";
import { plain, some } from "./words.js";

const LABELS = { delivered: "good", failed: "bad", pending: "warn" };

export function webhooks(told, resend) {
  if (!told?.webhooks.length) return null;
  const name = ({ name: own, origin }) => own ?? origin;
  return section("Webhooks", { "data-key": "webhooks" },
    h("ul", { class: "webhooks" }, told.webhooks.map((hook, place) => {
      const deliveries = told.deliveries.filter(({ webhook }) => webhook === place);
      return h("li", { "data-key": `webhook-${place}` },
        h("p", {}, h("strong", {}, name(hook)), hook.gone ? h("span", { class: "label warn" }, "wants no more") : null,
          h("span", { class: "quiet" }, ` hears of ${hook.events.map(plain).join(", ")}`)),
        deliveries.length ? h("ol", {}, deliveries.map((delivery) => line(delivery, resend))) : null);
    })));
}

function line(delivery, resend) {
  const last = delivery.latest.at(-1);
  const why = delivery.state === "delivered" || !last ? null : last.error ?? (last.status && `it answered ${last.status}`);
  return h("li", { "data-key": delivery.id },
    h("span", {}, plain(delivery.event)), " ",
    h("span", { class: `label ${LABELS[delivery.state]}` }, delivery.state), " ",
    h("span", { class: "quiet" }, delivery.attempts > 1 ? `${some(delivery.attempts, "attempt", "attempts")}, ` : "", since(last?.at ?? delivery.at),
      delivery.nextAttemptAt ? [", again ", time(delivery.nextAttemptAt)] : null),
    why ? h("div", { class: "quiet" }, why) : null,
    // What has not been tried yet is on its way.
    last ? h("button", {
      type: "button", class: "small", "data-key": `resend-${delivery.id}`,
      "aria-label": `Send ${plain(delivery.event)} again`, onclick: () => resend(delivery),
    }, "Send again") : null);
}
