// Light or dark: as the system says, or as the person does.

import { byId, write } from "./document.js";

const THEME = "penstock-theme"; // in localStorage
const THEMES = ["auto", "light", "dark"];

function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null;
  }
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  write(byId("theme"), `Theme: ${theme}`);
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  showTheme(theme);
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    /* it holds until the page is left */
  }
}

showTheme(THEMES.includes(storedTheme()) ? storedTheme() : "auto");
byId("theme").addEventListener("click", nextTheme);
