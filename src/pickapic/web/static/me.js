// The page about oneself: the last button works once its word is typed. The server checks it too.

const form = document.getElementById("forget-form");
const button = document.getElementById("forget-yes");
const field = document.getElementById("forget-word");

const fits = () => field.value.trim().toLowerCase() === form.dataset.word.toLowerCase();

function look() {
  button.setAttribute("aria-disabled", fits() ? "false" : "true");
}

field.addEventListener("input", look);
form.addEventListener("submit", (event) => {
  if (fits()) return;
  event.preventDefault();
  field.focus();
});
document.getElementById("forget").addEventListener("toggle", (event) => {
  if (event.target.open) field.focus();
});
look();
