"""The page in a real browser: silent, turned and moved by hand and by key, on any screen.

Skipped where neither Chromium nor Chrome and its driver are installed.
"""

from __future__ import annotations

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no Chromium with its driver is installed"
)

SWITCHES = (
    "--headless=new --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync"
)
DESKTOP, PHONE = (1200, 900), (360, 780)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for switch in SWITCHES.split():
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


Open = Callable[..., Any]


@pytest.fixture
def opened(chrome: Any, page: Path) -> Open:
    """Opens the page on a screen, waits until cells are drawn, and checks that nothing is wrong."""

    def load(
        size: tuple[int, int] = DESKTOP,
        *,
        scheme: str = "light",
        motion: str = "reduce",
        media: str = "screen",
    ) -> Any:
        width, height = size
        chrome.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        chrome.get(page.as_uri())
        if media == "screen":
            wait(lambda: state(chrome).get("frame") is not None)
        return chrome

    return load


def wait(for_it: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not for_it():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(chrome: Any) -> dict[str, str]:
    """Where the 3D view stands."""
    found: dict[str, str] = chrome.execute_script(
        "return {...document.getElementById('cells').dataset}"
    )
    return found


def pixels(chrome: Any) -> np.ndarray:
    """What the 3D view shows, ``(y, x, 4)``."""
    png = chrome.execute_script("return document.getElementById('cells').toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(png.split(",")[1])))
    return np.asarray(picture.convert("RGBA")).astype(int)


def move_slider(chrome: Any, key: str, to: int) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    slider = chrome.find_element(By.ID, key)
    slider.send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * to)
    assert slider.get_attribute("value") == str(to)


def press(chrome: Any, *keys: str) -> None:
    from selenium.webdriver.common.by import By

    chrome.find_element(By.ID, "cells").send_keys(*keys)


def test_no_error_and_no_request(opened):
    chrome = opened()
    chrome.get_log("browser")
    chrome.get_log("performance")
    chrome = opened(motion="no-preference")
    move_slider(chrome, "cells-time", 2)
    move_slider(chrome, "gallery-time", 3)
    told = chrome.get_log("browser")
    # What the driver itself reads from the graphics card makes it complain of the time it takes.
    assert [entry for entry in told if "GL Driver Message" not in entry["message"]] == []
    asked = [
        e["message"] for e in chrome.get_log("performance") if 'requestWillBeSent"' in e["message"]
    ]
    addresses = [part for message in asked for part in message.split('"') if "://" in part]
    assert addresses
    assert all(address.startswith("file://") for address in addresses)


def test_a_page_that_did_ask_would_be_stopped_and_seen(chrome, page, tmp_path):
    """The check above can fail, and the page's own policy is in force."""
    asking = tmp_path / "asking.html"
    text = page.read_text().replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>')
    asking.write_text(text)
    chrome.get_log("browser")
    chrome.get(asking.as_uri())
    assert any("Content Security Policy" in entry["message"] for entry in chrome.get_log("browser"))


def test_the_slider_moves_the_cells_through_time(opened):
    chrome = opened()
    assert state(chrome)["frame"] == "0"
    first = pixels(chrome)
    drawn = np.count_nonzero(first[..., 3])
    assert 2000 < drawn < 0.6 * first[..., 3].size
    move_slider(chrome, "cells-time", 3)
    wait(lambda: state(chrome)["frame"] == "3")
    last = pixels(chrome)
    assert np.count_nonzero(np.abs(first - last).sum(axis=-1) > 60) > 2000
    told = chrome.execute_script("return document.getElementById('cells-told').textContent")
    assert told == "frame 3 / 3 · 90 s"
    # Two daughters, two colours: orange and blue.
    red, green, blue, _ = np.moveaxis(last, -1, 0)
    assert np.count_nonzero((red > green + 60) & (green > blue)) > 500
    assert np.count_nonzero((blue > red + 60) & (blue > green)) > 500


def test_the_mouse_turns_the_cells(opened):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    chrome = opened()
    before, first = state(chrome), pixels(chrome)
    stage = chrome.find_element(By.ID, "cells")
    ActionChains(chrome).drag_and_drop_by_offset(stage, 120, 60).perform()
    wait(lambda: state(chrome)["yaw"] != before["yaw"])
    after = state(chrome)
    assert float(after["yaw"]) - float(before["yaw"]) == pytest.approx(0.009 * 120, abs=0.01)
    assert float(after["pitch"]) - float(before["pitch"]) == pytest.approx(0.009 * 60, abs=0.01)
    assert (pixels(chrome) != first).any()


def test_fingers_turn_and_pinch(opened):
    chrome = opened(PHONE)
    chrome.execute_script("document.getElementById('cells').scrollIntoView({block: 'center'})")
    box = chrome.execute_script("return document.getElementById('cells').getBoundingClientRect()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = state(chrome)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(points)]
        chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", (x, y))
    touch("touchMove", (x + 50, y))
    touch("touchEnd")
    wait(
        lambda: float(state(chrome)["yaw"]) == pytest.approx(float(before["yaw"]) + 0.45, abs=0.02)
    )
    touch("touchStart", (x - 30, y), (x + 30, y))
    touch("touchMove", (x - 60, y), (x + 60, y))
    touch("touchEnd")
    wait(lambda: float(state(chrome)["zoom"]) == pytest.approx(2, abs=0.1))


def test_keys_turn_zoom_step_and_play(opened):
    from selenium.webdriver.common.keys import Keys

    chrome = opened()
    start = state(chrome)
    press(chrome, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP, "+", ".")
    wait(lambda: state(chrome)["frame"] == "1")
    now = state(chrome)
    assert float(now["yaw"]) > float(start["yaw"])
    assert float(now["pitch"]) < float(start["pitch"])
    assert float(now["zoom"]) > 1
    press(chrome, ",", Keys.HOME)
    wait(lambda: state(chrome)["frame"] == "0")
    assert (state(chrome)["yaw"], state(chrome)["zoom"]) == ("0.000", "1.000")
    press(chrome, " ")
    wait(lambda: state(chrome)["frame"] == "2")
    press(chrome, " ")
    label = "return document.getElementById('cells-play').getAttribute('aria-label')"
    assert chrome.execute_script(label) == "Play the cells"


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    chrome = opened()
    reached = []
    for _ in range(40):
        chrome.switch_to.active_element.send_keys(Keys.TAB)
        found = chrome.execute_script(
            "const a = document.activeElement, s = getComputedStyle(a);"
            "return [a.id, a.getAttribute('href'), s.outlineStyle, parseFloat(s.outlineWidth)]"
        )
        if found[0] or found[1]:
            assert found[2] == "solid", found
            assert found[3] >= 2
        reached.append(found[0] or found[1])
    assert {"#content", "#gallery", "cells", "cells-time", "cells-play", "cells-sequence"} <= set(
        reached
    )
    assert {"gallery-time", "gallery-play"} <= set(reached)
    assert chrome.find_element(By.ID, "cells").get_attribute("aria-label")


def test_another_sequence_is_shown(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    chrome = opened()
    first = pixels(chrome)
    Select(chrome.find_element(By.ID, "cells-sequence")).select_by_visible_text("sequence 03")
    wait(lambda: state(chrome)["sequence"] == "2")
    assert (pixels(chrome) != first).any()


def test_motion_waits_where_it_is_not_wanted_and_runs_where_it_is(opened):
    chrome = opened(motion="reduce")
    time.sleep(0.6)
    assert state(chrome)["frame"] == "0"
    value = "return document.getElementById('gallery-time').value"
    assert chrome.execute_script(value) == "0"
    chrome = opened(motion="no-preference")
    wait(lambda: state(chrome)["frame"] != "0")
    chrome.execute_script("document.getElementById('gallery').scrollIntoView()")
    wait(lambda: chrome.execute_script(value) != "0")


def test_the_gallery_shows_the_frame_of_its_slider(opened):
    chrome = opened()
    place = (
        "const f = document.querySelector('.frame'), i = f.firstElementChild;"
        "const a = f.getBoundingClientRect(), b = i.getBoundingClientRect();"
        "return [(a.x - b.x) / a.width, (a.y - b.y) / a.height, b.width / a.width]"
    )
    for frame in (0, 3, 1):
        move_slider(chrome, "gallery-time", frame)
        across, down, wide = chrome.execute_script(place)
        # Four frames, in one row.
        assert (across, down) == (pytest.approx(frame, abs=0.03), pytest.approx(0, abs=0.03))
        assert wide == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("size", [PHONE, (320, 640), (768, 1024), DESKTOP])
def test_nothing_scrolls_sideways(opened, size):
    chrome = opened(size)
    wide, shown = chrome.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown <= size[0]


def test_dark_screens_get_a_dark_page(opened):
    colours = (
        "const b = getComputedStyle(document.body), s = getComputedStyle(document.querySelector"
        "('section')); return [b.backgroundColor, b.color, s.backgroundColor]"
    )

    def light(colour: str) -> float:
        return sum(float(part) for part in colour.strip("rgba()").split(",")[:3]) / 3

    day = [light(c) for c in opened(scheme="light").execute_script(colours)]
    night = [light(c) for c in opened(scheme="dark").execute_script(colours)]
    assert min(day[0], day[2], night[1]) > 200
    assert max(night[0], night[2], day[1]) < 60


def test_paper_gets_every_frame_and_the_cells_as_they_stand(opened):
    chrome = opened(media="screen")
    chrome.execute_script("dispatchEvent(new Event('beforeprint'))")
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = (
        "const seen = (q) => [...document.querySelectorAll(q)].map("
        "(e) => getComputedStyle(e).display !== 'none');"
        "return [seen('nav, .controls, .stage, .hint'), seen('#cells-paper, .tile img')]"
    )
    gone, there = chrome.execute_script(shown)
    assert not any(gone)
    assert all(there)
    png = chrome.execute_script("return document.getElementById('cells-paper').src")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(png.split(",")[1]))))
    assert np.count_nonzero(drawn[..., 3]) > 1000
    wide = (
        "const i = document.querySelector('.tile img');"
        "return i.clientWidth / i.parentElement.clientWidth"
    )
    assert chrome.execute_script(wide) == pytest.approx(1, abs=0.02)


def test_without_scripts_every_frame_is_there(chrome, page):
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chrome.get(page.as_uri())
        from selenium.webdriver.common.by import By

        assert not chrome.find_element(By.ID, "cells").is_displayed()
        tile = chrome.find_element(By.CSS_SELECTOR, ".frame")
        picture = chrome.find_element(By.CSS_SELECTOR, ".frame img")
        assert picture.size["width"] == pytest.approx(tile.size["width"], abs=3)
    finally:
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_without_webgl_the_page_says_so(chrome, page, tmp_path):
    blind = tmp_path / "blind.html"
    text = page.read_text().replace(
        "<style>", "<script>HTMLCanvasElement.prototype.getContext = () => null</script><style>", 1
    )
    blind.write_text(text)
    chrome.get(blind.as_uri())
    from selenium.webdriver.common.by import By

    assert chrome.find_element(By.ID, "cells-without").is_displayed()
    assert not chrome.find_element(By.ID, "cells").is_displayed()
    assert not chrome.find_element(By.ID, "cells-time").is_displayed()
