"""Opens the HTML report in headless Chromium and uses it as a reader would.

browser.py EMBER SOURCE_DIR TOOLS_DIR

TOOLS_DIR is what tests/report/fetch filled. Exits 77 (skipped) without Chromium or selenium. With EMBER_ZOO the
report of MobileNetV2 is opened as well. With EMBER_SCREENSHOTS=FOLDER pictures of the pages are left there.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
DESKTOP, PHONE = (1280, 900), (360, 740)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def wait(what, holds, seconds=10):
    """Until a condition holds; the page acts a moment after it is asked to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = holds()
        if result:
            return result
        time.sleep(0.03)
    raise AssertionError(f"in vain: {what}")


class Browser:
    """Chromium without a network, and what it has complained of."""

    def __init__(self, profile):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                         "--disable-background-networking", "--disable-component-update", "--disable-sync",
                         "--disable-dev-shm-usage", "--force-prefers-reduced-motion", f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(60)

    def size(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def media(self, scheme, kind=""):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "media": kind, "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def open(self, page):
        self.driver.get(page.as_uri())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, css):
        return self.driver.find_elements("css selector", css)

    def one(self, css):
        return self.driver.find_element("css selector", css)

    def text(self, css):
        return self.run("return document.querySelector(arguments[0]).textContent", css)

    def column(self, key):
        return self.run("return [...document.querySelectorAll('#table tbody td.' + arguments[0])].map(c => c.textContent)", key)

    def press(self, *keys):
        """Keys go to what has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.run("const e = document.activeElement; return e.id || e.className || e.textContent")

    def require_clean(self):
        """Nothing in the console, and nothing asked for but files and data within the page."""
        console = self.driver.get_log("browser")
        assert not console, f"console: {console}"
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                if message["params"]["documentURL"].startswith("chrome:"):
                    continue  # the tab that Chromium begins with
                url = message["params"]["request"]["url"]
                assert url.startswith(("file:", "data:")), f"asked for {url}"

    def require_fit(self):
        wide = self.run("""
          const most = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth > most) return ['page', document.documentElement.scrollWidth];
          for (const e of document.querySelectorAll('body *')) {
            if (e.closest('.table-frame') || e.closest('.skip')) continue;
            if (e.getBoundingClientRect().right > most + 1) return [e.tagName, e.className, e.id];
          }
          return null""")
        assert wide is None, f"wider than the page: {wide}"

    def picture(self, name):
        folder = os.environ.get("EMBER_SCREENSHOTS")
        if folder:
            shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            (pathlib.Path(folder) / name).write_bytes(base64.b64decode(shot["data"]))


def percents(texts):
    return [float(text.strip("<>%")) for text in texts]


def use_table(browser, report):
    """Sorting, filters, search, details."""
    channels = [(layer, channel) for layer in report["layers"] for channel in layer["channels"]]
    count = len(channels)
    found = lambda: browser.text("#found")
    assert found().startswith(f"{count} channels"), found()
    assert browser.text("#page") == f"Page 1 of {(count + 49) // 50}", browser.text("#page")

    header = browser.one('th[data-key="fired"]')
    header.find_element("tag name", "button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    shown = percents(browser.column("fired"))
    assert len(shown) == 50 and shown == sorted(shown)
    header.find_element("tag name", "button").click()
    assert header.get_attribute("aria-sort") == "descending" and "largest first" in found()
    shown = percents(browser.column("fired"))
    assert shown == sorted(shown, reverse=True)
    best = max(c["samples_fired"] / c["samples"] for _, c in channels)
    assert abs(shown[0] - 100 * best) < 0.06, (shown[0], best)
    assert len(browser.all("th[aria-sort]")) == 1

    silent = sum(channel["verdict"] == "silent" for _, channel in channels)
    browser.one("#verdict-filter label.silent").click()
    wait("the filter", lambda: found().startswith(f"{silent} of {count} channels"))
    assert set(browser.column("verdict")) == {"silent"}
    node = next(layer["node"] for layer in report["layers"] if layer["summary"]["silent"])
    in_layer = [c["index"] for layer, c in channels if layer["node"] == node and c["verdict"] == "silent"]
    browser.one("#search").send_keys(node.upper())
    wait("the search", lambda: found().startswith(f"{len(in_layer)} of {count} channels"))
    assert sorted(map(int, browser.column("index"))) == in_layer
    browser.one("#search").send_keys(f" {in_layer[0]}")
    wait("the search for a number", lambda: found().startswith(f"1 of {count} channels"))
    browser.one("#search").send_keys(" no such thing")
    wait("the search for nothing", lambda: found().startswith(f"0 of {count} channels"))
    assert browser.one("#next").get_attribute("disabled") and browser.one("#previous").get_attribute("disabled")
    browser.one('#filters button[type="reset"]').click()
    wait("the reset", lambda: found().startswith(f"{count} channels"))
    browser.run("document.getElementById('layer-filter').value = '1'; "
                "document.getElementById('layer-filter').dispatchEvent(new Event('change'))")
    wait("the layer", lambda: found().startswith(f"{len(report['layers'][1]['channels'])} of {count}"))
    browser.one('#filters button[type="reset"]').click()
    wait("the second reset",
         lambda: found().startswith(f"{count} channels"))
    browser.run("window.scrollTo(0, 0)")
    browser.one('.verdicts a[data-verdict="rare"]').click()
    rare = sum(channel["verdict"] == "rare" for _, channel in channels)
    wait("the verdict's link", lambda: found().startswith(f"{rare} of {count} channels"))
    browser.one('#filters button[type="reset"]').click()
    wait("the third reset", lambda: found().startswith(f"{count} channels"))


def use_keyboard(browser, report):
    """The page by keyboard alone: skip link, map, table, pages."""
    from selenium.webdriver.common.keys import Keys
    layers = report["layers"]
    browser.driver.refresh()
    browser.press(Keys.TAB)
    assert browser.focused() == "skip", browser.focused()
    for _ in range(400):
        browser.press(Keys.TAB)
        if browser.focused() == "map-grid":
            break
    else:
        raise AssertionError("the map cannot be reached by Tab")
    readout = lambda: browser.text("#map-readout")

    def expect(place, i):
        layer, channel = layers[place], layers[place]["channels"][i]
        start = f"{layer['node']}, channel {channel['index']}: {channel['verdict'].replace('_', ' ')}. Fired in "
        assert readout().startswith(f"{start}{channel['samples_fired']:,} of {channel['samples']:,} samples"), readout()

    browser.press(Keys.ARROW_RIGHT)
    expect(0, 0)
    browser.press(Keys.ARROW_RIGHT)
    expect(0, 1)
    browser.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    expect(0, 0)
    browser.press(Keys.END)
    expect(0, len(layers[0]["channels"]) - 1)
    browser.press(Keys.ARROW_DOWN, Keys.HOME)
    expect(1, 0)
    browser.press(Keys.ARROW_UP)
    expect(0, 0)
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    browser.press(Keys.ENTER)
    assert browser.text("#found").startswith(f"{len(layers[1]['channels'])} of "), browser.text("#found")
    assert browser.focused() == "index" and browser.text("tr.open td.index") == "1"
    channel = layers[1]["channels"][1]
    assert ("Cause: " in browser.text("tr.detail")) == ("cause" in channel)
    assert f"{channel['samples_fired']:,} of {channel['samples']:,}" in browser.text("tr.detail")
    assert browser.one("tr.open button.index").get_attribute("aria-expanded") == "true"
    browser.press(Keys.ENTER)
    assert not browser.all("tr.detail") and browser.focused() == "index"
    browser.run("document.querySelector('#filters button').focus()")
    browser.press(Keys.ENTER)
    wait("clearing by keyboard", lambda: " of " not in browser.text("#found"))
    browser.run("document.querySelector('th[data-key=index] button').focus()")
    browser.press(Keys.SPACE)
    indices = list(map(int, browser.column("index")))  # they were ascending
    assert indices == sorted(indices, reverse=True), indices
    assert browser.one("th[data-key=index]").get_attribute("aria-sort") == "descending"
    browser.run("document.getElementById('next').focus()")
    browser.press(Keys.ENTER)
    assert browser.text("#page").startswith("Page 2 of "), browser.text("#page")


def check_drawing(browser, report):
    """The picture of the network, the map and the histograms show what the report says."""
    layers = report["layers"]
    edges = sum(len(layer["predecessors"]) + layer["reads_input"] + layer["feeds_output"] for layer in layers)
    assert len(browser.all(".lanes path")) == edges, (len(browser.all(".lanes path")), edges)
    assert len(browser.all(".lanes circle")) == len(layers) + 2
    assert edges >= len(layers) + 1
    seen = browser.run("""
      const found = [];
      for (const canvas of document.querySelectorAll('.map canvas')) {
        const row = canvas.getContext('2d').getImageData(0, 5, canvas.width, 1).data;
        const cells = [];
        for (let x = 5; x < canvas.width; x += 14) cells.push([...row.slice(4 * x, 4 * x + 3)].join());
        found.push(cells);
      }
      return found""")
    silent = browser.run("const e = document.querySelector('#verdict-filter .silent .swatch'); return getComputedStyle(e).backgroundColor")
    silent = silent[4:-1].replace(" ", "")
    for layer, cells in zip(layers, seen, strict=True):
        assert cells, "a strip without cells"
        for channel, color in zip(layer["channels"], cells):
            assert (color == silent) == (channel["verdict"] == "silent"), (layer["node"], channel["index"], color)
    count = sum(len(layer["channels"]) for layer in layers)
    numbers = "return [...document.querySelectorAll('#histogram-samples td')].reduce((n, c) => n + Number(c.textContent.replaceAll(',', '')), 0)"
    assert browser.run(numbers) == count
    browser.run("const e = document.getElementById('histogram-layer'); e.value = '1'; e.dispatchEvent(new Event('change'))")
    assert browser.run(numbers) == len(layers[1]["channels"])
    assert len(browser.all(".alarm")) == len(report["findings"])
    kinds = {c["cause"]["kind"] for layer in layers for c in layer["channels"] if "cause" in c}
    assert kinds and len(browser.all(".causes tbody tr")) == len(kinds), kinds
    before = browser.run("return document.querySelector('.map canvas').toDataURL()")
    browser.run("const e = document.getElementById('map-mode'); e.value = 'samples'; e.dispatchEvent(new Event('change'))")
    assert browser.run("return document.querySelector('.map canvas').toDataURL()") != before


def open_table(browser, section):
    """Opens the table below a section's drawing by keyboard."""
    from selenium.webdriver.common.keys import Keys
    table = browser.one(f"#{section} table")
    assert not table.is_displayed()
    browser.run(f"document.querySelector('#{section} summary').focus()")
    browser.press(Keys.ENTER)
    wait(f"the table of {section}", table.is_displayed)


def check_discovery(browser, report):
    """The curve, the sentences and the table below it, which opens by keyboard."""
    discovery = report["discovery"]
    curve = discovery["curve"]
    heights = browser.run("return [...document.querySelectorAll('#discovery circle')].map(c => c.cy.baseVal.value)")
    assert len(heights) == len(curve) and heights == sorted(heights, reverse=True), heights
    for (a, y), (b, z) in zip(zip(curve, heights), zip(curve[1:], heights[1:])):
        assert (a["fired"] == b["fired"]) == (y == z), (a, b)
    label = browser.one("#discovery svg").get_attribute("aria-label")
    assert f"{curve[0]['fired']:,} of {discovery['channels']:,} channels" in label, label
    assert f"{discovery['fired']:,} of {discovery['channels']:,} channels fired" in browser.text("#discovery .intro")
    open_table(browser, "discovery")
    rows = browser.run("return [...document.querySelectorAll('#discovery tbody tr')].map(r => [...r.children].map(c => Number(c.textContent.replaceAll(',', ''))))")
    assert [row[:2] for row in rows] == [[point["trials"], point["fired"]] for point in curve], rows
    assert sum(row[2] for row in rows) == discovery["fired"]


def check_gradient(browser, report):
    """The drawing of the gradient, its table, which opens by keyboard, and what the map and the channels' table say of it."""
    from selenium.webdriver.common.keys import Keys
    layers = report["layers"]
    without = [sum(c["gradient"]["samples_nonzero"] == 0 for c in layer["channels"]) for layer in layers]
    assert any(without) and not all(n == len(layer["channels"]) for n, layer in zip(without, layers))
    gradient = report["gradient"]
    assert f"({gradient['correct']:,} of {gradient['labelled']:,})" in browser.text("#gradient .intro")
    assert len(browser.all("#gradient .steps li")) >= sum(n > 0 for n in without)
    heights = browser.run("return [...document.querySelectorAll('#gradient rect')].map(r => r.height.baseVal.value)")
    norms = [layer["gradient"]["norm"] for layer in layers]
    assert len(heights) == sum(norm > 0 for norm in norms), heights
    by_norm = [height for _, height in sorted(zip(norms, heights, strict=True))]
    assert by_norm == sorted(by_norm), (norms, heights)

    open_table(browser, "gradient")
    rows = browser.run("return [...document.querySelectorAll('#gradient tbody tr')].map(r => [...r.children].map(c => c.textContent))")
    for row, layer, n in zip(rows, layers, without, strict=True):
        assert row[0].endswith(layer["node"]) and row[-1] == f"{n} of {len(layer['channels'])}", row

    browser.run("const e = document.getElementById('map-mode'); e.value = 'gradient'; e.dispatchEvent(new Event('change'))")
    assert "in none" in browser.text("#map-legend") and "not known" not in browser.text("#map-legend")
    place, i = next((p, i) for p, layer in enumerate(layers) for i, c in enumerate(layer["channels"])
                    if c["gradient"]["samples_nonzero"] == 0)
    browser.run("document.getElementById('map-grid').focus()")
    browser.press(*[Keys.ARROW_DOWN] * (place + 1), Keys.HOME, *[Keys.ARROW_RIGHT] * i)
    readout = browser.text("#map-readout")
    assert f"channel {layers[place]['channels'][i]['index']}: " in readout and "no sample brings it a gradient" in readout, readout
    browser.press(Keys.ENTER)
    samples = layers[place]["channels"][i]["gradient"]["samples"]
    assert f"Samples that bring it a gradient0 of {samples:,}" in browser.text("tr.detail"), browser.text("tr.detail")
    browser.run("document.querySelector('#filters button').click()")
    wait("clearing", lambda: " of " not in browser.text("#found"))
    browser.run("document.querySelector('th[data-key=gradient] button').click()")
    assert browser.column("gradient")[:sum(without)] == ["0%"] * min(50, sum(without)), browser.column("gradient")


def check_accessible(browser, tools):
    """axe-core's rules for WCAG 2.1 A and AA, contrast among them."""
    scripts = list(tools.glob("venv/lib/python*/site-packages/axe_core_python/axe.min.js"))
    if not scripts:
        skip("axe-core is not there (run tests/report/fetch)")
    browser.run(scripts[0].read_text(encoding="utf-8"))
    result = browser.driver.execute_async_script("""
      const done = arguments[arguments.length - 1];
      axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then(done)""")
    found = [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in result["violations"]]
    assert not found, f"not accessible: {found}"
    assert len(result["passes"]) > 15, "axe-core looked at next to nothing"


def check_hostile(browser, page):
    """Markup in node names stays text."""
    browser.open(page)
    assert browser.run("return window.bad === undefined && document.scripts.length === 2 && document.images.length === 0")
    assert "</script><script>top.bad=1;" in browser.text(".layers")
    assert "<img src onerror=a>" in browser.text(".layers") and "<img src onerror=a>" in browser.text("#gradient")
    browser.one("#search").send_keys("<script>top.bad")
    wait("the search for markup", lambda: " of " in browser.text("#found"))
    assert set(browser.column("layer")) == {"</script><script>top.bad=1;"}
    assert browser.run("return document.images.length") == 0
    browser.require_clean()


def check_without_script(browser, page):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(page)
    text = browser.one("main").text
    assert "never fired" in browser.one("header").text and "What to do next" in text
    assert "scripts are turned off" in text and "Every channel" not in text
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def audit(ember, folder, model, data, name, *arguments):
    command = [ember, "audit", str(model), "--data", str(data), "--html", f"{name}.html", "--json", f"{name}.json",
               "--quiet", *arguments]
    subprocess.run(command, cwd=folder, check=True)
    return folder / f"{name}.html", json.loads((folder / f"{name}.json").read_text())


def same_length(text, replacements):
    """Replaces names in a model file; their lengths are written beside them and must stay."""
    for old, new in replacements:
        assert len(old) == len(new) and old in text, old
        text = text.replace(old, new)
    return text


def check_all(ember, source, tools, folder, browser):
    models = source / "models"
    digits = models / "digits_calibration.npz"
    dying, dying_report = audit(ember, folder, models / "digits_mlp_high_lr.onnx", digits, "dying")
    biased, biased_report = audit(ember, folder, models / "digits_cnn_dead_bias.onnx", digits, "biased")
    hostile = folder / "hostile.onnx"
    hostile.write_bytes(same_length((models / "digits_cnn_dead_bias.onnx").read_bytes(), [
        (b"/depthwise/depthwise.2/Relu", b"</script><script>top.bad=1;"),
        (b"/residual/act1/Relu", b"<img src onerror=a>")]))
    hostile_page, _ = audit(ember, folder, hostile, digits, "hostile", "--labels", str(digits))
    taught, taught_report = audit(ember, folder, models / "digits_cnn_dead_bias.onnx", digits, "taught", "--labels",
                                  str(digits))

    browser.size(*DESKTOP)
    browser.media("light")
    browser.open(dying)
    browser.require_fit()
    check_accessible(browser, tools)
    check_drawing(browser, dying_report)
    check_discovery(browser, dying_report)
    use_table(browser, dying_report)
    use_keyboard(browser, dying_report)
    browser.require_clean()
    browser.picture("dying-desktop.png")

    browser.open(biased)
    browser.require_fit()
    for width in (1000, 800, 620):
        browser.size(width, 900)
        browser.require_fit()
    browser.size(*PHONE)
    browser.open(biased)
    browser.require_fit()
    browser.picture("biased-phone.png")
    use_table(browser, biased_report)
    browser.media("dark")
    check_accessible(browser, tools)
    check_drawing(browser, biased_report)
    browser.media("light", "print")
    browser.require_fit()
    assert not browser.one("#filters").is_displayed() and browser.one("#table").is_displayed()
    browser.media("light")
    browser.require_clean()

    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        browser.size(*size)
        browser.media(scheme)
        browser.open(taught)
        browser.require_fit()
        check_gradient(browser, taught_report)
        check_accessible(browser, tools)
        browser.require_fit()
        browser.picture(f"taught-{size[0]}-{scheme}.png")
    browser.media("light")
    browser.require_clean()

    check_hostile(browser, hostile_page)
    check_without_script(browser, dying)

    zoo = os.environ.get("EMBER_ZOO")
    if zoo:
        check_large(ember, pathlib.Path(zoo), folder, browser)


def check_large(ember, zoo, folder, browser):
    """MobileNetV2: thousands of channels in a page that is small and quick."""
    page, report = audit(ember, folder, zoo / "models" / "tfl_tf2_mobilenet_v2_1.0_224_ptq_fp32.onnx",
                         zoo / "data" / "imagenet250", "large", "--size", "224", "--resize-short", "256", "--scale",
                         "0.00784313725490196", "--offset", "-1", "--samples", "16")
    count = report["summary"]["channels"]
    assert count > 15000 and page.stat().st_size < 3_000_000, (count, page.stat().st_size)
    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        browser.size(*size)
        browser.media(scheme)
        browser.open(page)
        browser.require_fit()
        browser.picture(f"large-{size[0]}-{scheme}.png")
    begin = time.monotonic()
    browser.run("document.querySelector('th[data-key=dormancy] button').click()")
    assert time.monotonic() - begin < 3, "sorting is slow"
    browser.one("#search").send_keys("silent")
    wait("the search", lambda: browser.text("#found").startswith(f"{report['summary']['silent']:,} of {count:,} channels"))
    browser.require_clean()
    print(f"MobileNetV2: {count} channels in {page.stat().st_size} bytes")


def main():
    ember, source, tools = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        skip("no chromium or chromedriver (run tools/dependencies check)")
    python = tools / "venv" / "bin" / "python"
    if not python.exists():
        skip("no selenium (run tests/report/fetch)")
    if sys.prefix != str(tools / "venv"):
        sys.exit(subprocess.run([str(python), *sys.argv], check=False).returncode)
    os.environ["SE_OFFLINE"] = "true"
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            check_all(ember, source, tools, pathlib.Path(name), browser)
        finally:
            browser.driver.quit()
    print("the page sorts, filters, searches and answers to the keyboard; its console is empty, and it asked for nothing")


main()
