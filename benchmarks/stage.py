"""From key press to the next round on screen: a real server, a real Chromium, the next picture already fetched.

The clock starts in the page's own keydown listener and stops after the frame in which both pictures of the next round
stand in the page, decoded: requestAnimationFrame, then the first task after it. In between lie the request that
stores the pick, the transaction behind it, and the answer with the next round. Target: a median of 50 ms.

    python benchmarks/stage.py --rounds 60
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

TARGET_MS = 50.0
PROMPTS = (
    "a red fox on the beach, watercolor",
    "three penguins in the snow at night",
    "a black cat at sunset",
)
KEYS = ("ArrowLeft", "ArrowRight", "1", "2", "ArrowDown")
START_SECONDS = 60
CLOCK = """() => {
    window.times = [];
    let pressed = 0;
    addEventListener("keydown", () => { pressed = performance.now(); }, true);
    new MutationObserver(() => {
        const from = pressed;
        requestAnimationFrame(() => {
            const after = new MessageChannel();
            after.port1.onmessage = () => window.times.push(performance.now() - from);
            after.port2.postMessage(0);
        });
    }).observe(document.querySelector("#pair"), { attributes: true, attributeFilter: ["data-round"] });
}"""
REQUESTS = """() => performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/pick"))
    .map(({ duration }) => duration)"""


def main() -> None:
    """Pick, round after round, and print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--url", help="a server that allows guests; default: one of its own, on SQLite")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _server(options.url, Path(folder)) as url:
        times, requests = _play(url, options.rounds)
    result = {
        "rounds": len(times),
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "request_median_ms": round(statistics.median(requests), 1),
        "target_ms": TARGET_MS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"key press to the next round painted, {result['rounds']} rounds, target {TARGET_MS:.0f} ms")
    print(f"  median {result['median_ms']} ms   p95 {result['p95_ms']} ms")
    print(f"  of it the request that stores the pick: median {result['request_median_ms']} ms")
    print(f"  {result['machine']}, {result['date']}")


def _play(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return milliseconds from key press to paint, and those of the requests among them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("PICKAPIC_TEST_CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_init_script("localStorage.setItem('pickapic.tour', '1')")
        page = context.new_page()
        page.goto(url)
        page.fill("#prompt", PROMPTS[0])
        page.press("#prompt", "Enter")
        page.wait_for_selector("body[data-state=compare]", timeout=60_000)
        page.evaluate(CLOCK)
        for number in range(rounds):
            _wait_for_next(page, url)
            page.keyboard.press(KEYS[number % len(KEYS)])
            page.wait_for_function("(count) => window.times.length === count", arg=number + 1, timeout=30_000)
        times = page.evaluate("window.times")
        requests = page.evaluate(REQUESTS)
        browser.close()
    return times, requests


def _wait_for_next(page: Page, url: str) -> None:
    """Wait as a person does who looks, and until the next picture is there."""
    page.wait_for_timeout(500)
    duel_id = page.evaluate("JSON.parse(sessionStorage.getItem('pickapic.duel')).duelId")
    while not page.request.get(f"{url}/api/v1/duels/{duel_id}").json()["next_ready"]:
        page.wait_for_timeout(100)
    page.wait_for_load_state("networkidle")


@contextmanager
def _server(url: str | None, folder: Path) -> Iterator[str]:
    if url:
        yield url.rstrip("/")
        return
    environment = os.environ | {"PICKAPIC_HOME": str(folder / "home")}
    log = folder / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "pickapic", "serve", "--port", "0"],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        text = log.read_text()
        if " is at http://" in text:
            return text.partition(" is at ")[2].split()[0]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


if __name__ == "__main__":
    main()
