// Light or dark before the page is drawn: as chosen on the other pages, else as the machine is set.
const preference = localStorage.getItem("mode");
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => {
  const theme = ["light", "dark"].includes(preference) ? preference : dark.matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
};
dark.addEventListener("change", follow);
follow();
