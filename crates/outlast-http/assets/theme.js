// Light, dark, or as the system says; remembered in this browser.

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

export function theme(button) {
  let chosen = localStorage.getItem("theme") ?? "auto";
  const apply = () => {
    document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-label", WORDS[chosen]);
    button.title = WORDS[chosen];
  };
  button.onclick = () => {
    chosen = NEXT[chosen] ?? "auto";
    localStorage.setItem("theme", chosen);
    apply();
  };
  apply();
}
