// The gallery: sharing and taking away without a reload. Without this script its plain forms do the same.

import { t } from "./language.js";

const part = (id) => document.getElementById(id);

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-act]");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.act === "share") share(form);
  else if (form.dataset.act === "unshare") change(form, () => unshare(form));
  else askToRemove(form);
});

part("share-copy").addEventListener("click", async () => {
  const field = part("share-link");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    say(t("The link is copied."));
    part("share-copy").textContent = t("Copied");
  } catch {
    // No clipboard without HTTPS: the link is selected, ready to be copied by hand.
  }
});

async function share(form) {
  await change(form, async () => {
    const { url } = await call("POST", `/api/v1/images/${tokenOf(form)}/share`);
    const link = new URL(url, location.href).href;
    part("share-link").value = link;
    part("share-copy").textContent = t("Copy");
    part("share-dialog").showModal();
    part("share-dialog").addEventListener("close", () => reloadTile(form), { once: true });
  });
}

async function unshare(form) {
  await call("DELETE", `/api/v1/images/${tokenOf(form)}/share`);
  say(t("The picture is private again."));
  await reloadTile(form);
}

function askToRemove(form) {
  const dialog = part("remove-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue === "remove") change(form, () => remove(form));
    },
    { once: true },
  );
}

async function remove(form) {
  await call("DELETE", `/api/v1/me/images/${tokenOf(form)}`);
  const tile = form.closest(".tile");
  const group = tile.closest(".group");
  const next = tile.nextElementSibling ?? tile.previousElementSibling;
  tile.remove();
  if (!group.querySelector(".tile")) group.remove();
  say(t("The picture is out of your gallery."));
  (next?.querySelector("a") ?? part("main")).focus();
}

async function change(form, work) {
  const button = form.querySelector("button");
  button.disabled = true;
  part("gallery-problem").textContent = "";
  try {
    await work();
  } catch (error) {
    part("gallery-problem").textContent = error.message;
    part("gallery-problem").scrollIntoView({ block: "nearest" });
  } finally {
    button.disabled = false;
  }
}

// What a tile offers depends on whether its picture is shared: the server draws it anew.
async function reloadTile(form) {
  const tile = form.closest(".tile");
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const fresh = page.querySelector(`.tile[data-token="${CSS.escape(tile.dataset.token)}"]`);
  if (!fresh) return;
  tile.replaceWith(fresh);
  fresh.querySelector("[data-act] button, [data-act]").focus();
}

const tokenOf = (form) => form.closest(".tile").dataset.token;

function say(text) {
  part("gallery-live").textContent = text;
}

async function call(method, path) {
  const cookie = document.cookie.split("; ").find((one) => one.startsWith("csrf="));
  let response;
  try {
    const headers = { Accept: "application/json", "X-CSRF-Token": cookie?.slice("csrf=".length) ?? "" };
    response = await fetch(path, { method, headers });
  } catch {
    throw new Error(t("No answer came. Please try again."));
  }
  const body = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.error?.message ?? t("Something went wrong on our side."));
  return body;
}
