// A link to one picture, for others: made by the server, put on the clipboard.

import { t } from "../language.js";
import * as api from "./api.js";
import { problemOf } from "./problems.js";

const part = (id) => document.getElementById(id);

/** Make a link to the picture at `imageUrl` and copy it, or show it where one cannot; `tell` shows a sentence. */
export async function share(session, imageUrl, tell) {
  let link;
  try {
    const { url } = await session.run(() => api.share(imageUrl));
    link = new URL(url, location.href).href;
  } catch (error) {
    tell(problemOf(error).text);
    return;
  }
  try {
    await navigator.clipboard.writeText(link);
    tell(t("The link is copied."));
  } catch {
    // No clipboard without HTTPS, or the browser was not asked at once.
    part("share-link").value = link;
    part("share-dialog").showModal();
    part("share-link").select();
  }
}
