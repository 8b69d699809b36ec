// The dialog in which a picture is reported.

import { t } from "../language.js";
import { problemOf } from "./problems.js";
import { complaintOf } from "./sides.js";

const part = (id) => document.getElementById(id);

/** Returns how to open the dialog for a side; `send(side, reason, note)` rejects where it is not taken. */
export function makeReport(send) {
  const dialog = part("report-dialog");
  const form = part("report-form");
  let side = "left";

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answers = new FormData(form);
    if (!answers.get("reason")) {
      part("report-problem").textContent = t("Choose what is wrong with it.");
      form.elements.reason[0].focus();
      return;
    }
    part("report-send").disabled = true;
    try {
      await send(side, answers.get("reason"), answers.get("note").trim());
      dialog.close();
    } catch (error) {
      part("report-problem").textContent = problemOf(error).text;
    } finally {
      part("report-send").disabled = false;
    }
  });

  return (reported) => {
    side = reported;
    form.reset();
    part("report-problem").textContent = "";
    part("report-title").textContent = complaintOf(side);
    dialog.showModal();
  };
}
