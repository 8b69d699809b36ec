// The terms, put to somebody who has not agreed to their present version yet.

import * as api from "./api.js";
import { problemOf } from "./problems.js";

const part = (id) => document.getElementById(id);

let asking = null;

/** Ask; resolves to whether the person agreed and the server has it. Asked twice at once, it is one question. */
export function askConsent() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const dialog = part("consent-dialog");
  part("consent-problem").textContent = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const agree = async () => {
      part("consent-yes").disabled = true;
      try {
        const { terms_version: version } = await api.readMe();
        await api.agree(version);
        dialog.close("agreed");
      } catch (error) {
        part("consent-problem").textContent = problemOf(error).text;
      } finally {
        part("consent-yes").disabled = false;
      }
    };
    const close = () => {
      part("consent-yes").removeEventListener("click", agree);
      resolve(dialog.returnValue === "agreed");
    };
    part("consent-yes").addEventListener("click", agree);
    dialog.addEventListener("close", close, { once: true });
  });
}
