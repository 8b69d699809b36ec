// The administration works without a script, but for uploads. This keeps numbers up to date, and lets keys decide.

const SECONDS = 2;
const main = document.querySelector("main");

// On a phone the tabs are a row to be pushed; the present one is seen.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });

/** Write `value` where `data-live` names it, in the unit that is asked for. */
function write(place, value) {
  const unit = place.dataset.unit;
  const nothing = value === null || value === undefined;
  if (unit === "share") place.textContent = nothing ? "–" : `${Math.round(value * 100)} %`;
  else if (unit === "seconds") place.textContent = `${value.toFixed(1)} s`;
  else if (place.dataset.live === "at") place.textContent = new Date(value).toLocaleTimeString();
  else place.textContent = typeof value === "number" ? value.toLocaleString("en") : (value ?? "–");
}

function writeAll(numbers) {
  for (const place of document.querySelectorAll("[data-live]")) {
    if (place.dataset.live in numbers) write(place, numbers[place.dataset.live]);
  }
}

/** Ask `path` every two seconds while the page is seen, and give the answer to `use` until that returns false. */
function follow(path, use, lost = () => {}) {
  const ask = async () => {
    if (!document.hidden) {
      try {
        const reply = await fetch(path, { headers: { Accept: "application/json" } });
        // Signed out, or no longer staff: the page says so itself.
        if (reply.status === 404) return location.reload();
        if (!reply.ok) throw new Error(reply.statusText);
        if (use(await reply.json()) === false) return;
      } catch {
        lost();
      }
    }
    setTimeout(ask, SECONDS * 1000);
  };
  setTimeout(ask, SECONDS * 1000);
}

const overview = document.querySelector("[data-follow]");
if (overview) {
  const stale = document.querySelector("#stale");
  follow(
    overview.dataset.follow,
    (numbers) => {
      stale.hidden = true;
      const minutes = numbers.minutes.slice(0, -1);
      const top = Math.max(...minutes);
      writeAll({ ...numbers, rate: minutes.at(-1), top });
      const points = minutes.map((n, i) => `${i * 10},${(76 - (n / Math.max(top, 1)) * 72).toFixed(1)}`);
      document.querySelector("#spark").setAttribute("points", points.join(" "));
    },
    () => (stale.hidden = false),
  );
}

const progress = document.querySelector("[data-progress]");
if (progress) {
  follow(progress.dataset.progress, (task) => {
    if (!task.running) {
      location.assign("/admin/exports");
      return false;
    }
    writeAll(task);
    progress.querySelector("progress").max = task.total || 1;
    progress.querySelector("progress").value = task.done;
  });
}

// Queues: the focus is in one case, and a key decides about it. Keys rest while one writes.
const cases = [...document.querySelectorAll("[data-cases] > .case")];
if (cases.length) {
  if (new URL(location).searchParams.has("done")) cases[0].focus({ preventScroll: false });
  document.querySelector("[data-cases]").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const present = cases.indexOf(event.target.closest(".case"));
    const key = event.key.toLowerCase();
    const step = { j: 1, k: -1 }[key];
    const button = cases[present]?.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (step) cases[present + step]?.focus();
    else if (button) button.click();
    else return;
    event.preventDefault();
  });
}
// From nowhere in particular, J goes to the first case.
if (cases.length) {
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "j" && (event.target === document.body || event.target === main)) cases[0].focus();
  });
}

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]:not([data-upload])")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener("pageshow", () => (sent = false));
}

// Files go with the CSRF token in the header: the field is read in forms without files only.
for (const form of document.querySelectorAll("[data-upload]")) {
  const problem = form.querySelector(".problem");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector(".primary");
    button.disabled = true;
    problem.textContent = "";
    const csrf = document.cookie.match(/(?:^|; )csrf=([^;]*)/)?.[1] ?? "";
    try {
      const reply = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        headers: { "X-CSRF-Token": csrf, Accept: "application/json" },
      });
      if (reply.redirected) return location.assign(reply.url);
      const { error } = await reply.json();
      problem.textContent = error?.message ?? "That did not work.";
    } catch {
      problem.textContent = "The server does not answer; nothing was added. Try again.";
    }
    button.disabled = false;
  });
}
