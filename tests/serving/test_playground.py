"""The playground: its files as they are served, and the page in a real browser."""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import lmalgebra as la
from lmalgebra.cli import explain_page
from lmalgebra.cli.explain_view import nats
from lmalgebra.serving import pages
from serving.conftest import TOY, running
from serving.test_operation import KEY

HERE = Path(pages.__file__).parent / "playground"
PATIENCE = 60_000
"""Milliseconds after which something that should come is taken to be lost."""

HOSTILE = "<img src=x onerror=alert(1)>\"'</script>"


# Its files.


def test_every_file_is_served_as_what_it_is(served):
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for file in HERE.iterdir():
        path = "/" if file.name == "index.html" else f"/playground/{file.name}"
        status, content, headers = served.request("GET", path)
        assert (status, content) == (200, file.read_text())
        assert headers["content-type"].partition(";")[0] == kinds[file.suffix[1:]]
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_files_name_no_other_place_and_hold_no_script_or_style_inline():
    for file in HERE.iterdir():
        text = file.read_text()
        assert set(re.findall(r"https?://[^\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    html = (HERE / "index.html").read_text()
    assert re.findall(r"<script(.*?)>(.*?)</script>", html) == [(' type="module" src="playground/main.js"', "")]
    assert not re.search(r"<style|\bstyle=|\son\w+=", html)


@pytest.mark.parametrize("name", ["", "nothing.js", "../settings.py", "..%2fsettings.py", "%2e%2e/app.py", "main.js/"])
def test_only_its_own_files_are_served(served, name):
    assert served.request("GET", f"/playground/{name}")[0] == 404


def test_the_start_sentence_tells_its_address(served):
    assert f"playground: http://127.0.0.1:{served.port}/)." in served.lines[0]


# In a browser.


def chromium() -> str | None:
    """The place of a Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if find_spec("playwright") is None:
        pytest.skip("needs Playwright: run `make test`")
    if (place := chromium()) is None:
        pytest.skip("needs Chromium: put it on the path, or run `playwright install chromium`")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=arguments)
        yield browser
        browser.close()


class Page:
    """The page of a server, with what went wrong in it and where it asked."""

    def __init__(self, page, server) -> None:
        self.page, self.address = page, f"http://127.0.0.1:{server.port}/"
        self.troubles: list[str] = []
        self.asked: set[str] = set()
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        page.on("dialog", lambda dialog: (self.troubles.append("a dialog"), dialog.dismiss()))

    def open(self, fragment: str = "") -> "Page":
        self.page.goto(self.address + fragment)
        self.page.locator("#sides .side").nth(1).wait_for()
        return self

    def side(self, place: int):
        return self.page.locator("#sides .side").nth(place)

    def formula(self, place: int):
        return self.side(place).locator(".formula textarea")

    def speak(self) -> None:
        self.page.click("#speak")
        for place in (0, 1):
            self.side(place).locator(".measures:visible").wait_for()


@contextmanager
def opened(browser, server, fragment="", **settings):
    """A page that asked nobody else, and had nothing to complain of."""
    context = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE)
    page = Page(context.new_page(), server)
    try:
        yield page.open(fragment)
        assert page.troubles == []
        assert all(each.startswith(page.address) for each in page.asked)
    finally:
        context.close()


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def link(**changes) -> str:
    """A fragment as the page writes it."""
    side = {"voice": "toy", "recipe": "", "formula": "base", "terms": []}
    state = {"version": 1, "mode": "plain", "prompt": "hello", "seed": 7, "max_tokens": 6, "temperature": None}
    content = json.dumps(state | {"top_p": None, "sides": [side, side]} | changes)
    return "#" + base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


@pytest.mark.browser
def test_a_mistake_is_shown_in_its_place_and_mended(browser, served):
    with opened(browser, served) as page:
        page.formula(0).fill("base + 0.5 * (frmal - base)")
        expect(page.side(0).locator(".mirror mark")).to_have_text("frmal")
        expect(page.side(0).locator(".mistake")).to_contain_text("Did you mean `formal`?")
        expect(page.formula(0)).to_have_attribute("aria-invalid", "true")
        page.formula(0).fill("base + 0.5 * (formal - base)")
        expect(page.side(0).locator(".mistake")).to_have_text("")
        expect(page.formula(0)).to_have_attribute("aria-invalid", "false")
        expect(page.side(0).locator(".mirror span")).to_have_text("formal")


@pytest.mark.browser
def test_a_completion_is_taken_by_keyboard(browser, served):
    with opened(browser, served) as page:
        page.formula(0).fill("")
        page.formula(0).press_sequentially("base + un")
        options = page.side(0).locator(".formula [role=option]")
        expect(options).to_have_count(1)
        page.formula(0).press("Enter")
        page.formula(0).press_sequentially("fo")
        expect(options.first).to_contain_text("formal")
        page.formula(0).press("ArrowDown")
        expect(options.nth(1)).to_have_attribute("aria-selected", "true")
        page.formula(0).press("ArrowUp")
        page.formula(0).press("Tab")
        expect(page.formula(0)).to_have_value("base + union(formal)")
        expect(options).to_have_count(0)
        page.formula(0).press("Control+Space")
        page.formula(0).press("Escape")
        expect(page.formula(0)).to_be_focused()


@pytest.mark.browser
def test_a_slider_rewrites_its_number(browser, served):
    with opened(browser, served) as page:
        page.formula(0).fill("base + 0.5 * (formal - base) + within(base, top_p=0.9)")
        sliders = page.side(0).get_by_role("slider")
        expect(sliders).to_have_count(2)
        sliders.nth(0).fill("1.25")
        sliders.nth(1).fill("0.5")
        expect(page.formula(0)).to_have_value("base + 1.25 * (formal - base) + within(base, top_p=0.5)")
        sliders.nth(0).press("ArrowRight")
        expect(page.formula(0)).to_have_value("base + 1.3 * (formal - base) + within(base, top_p=0.5)")
        expect(sliders.nth(0)).to_be_focused()


@pytest.mark.browser
def test_both_speak_and_their_tokens_tell_what_moved_them(browser, served):
    with opened(browser, served) as page:
        page.formula(1).fill("base")
        page.page.locator("#max_tokens").fill("9")
        page.speak()
        body = {"messages": [{"role": "user", "content": "Why is the sea salty?"}], "seed": 1, "max_tokens": 9}
        for place, formula in ((0, "base + 0.6 * (formal - base)"), (1, "base")):
            choice = served.post("/v1/chat/completions", **body, formula=formula, explain=True, model="second")
            told = choice["choices"][0]["explanation"]
            expect(page.side(place).locator(".text .unseen")).to_have_text(told["text"])
            tokens = page.side(place).locator(".t")
            expect(tokens).to_have_count(len(told["tokens"]))
            expect(page.side(place).locator(".measures")).to_contain_text("perplexity")
            expect(page.side(place).locator(".status")).to_contain_text("9 tokens, the limit; seed 1.")
            tokens.nth(4).hover()
            expect(page.side(place).locator(".token .sub")).to_contain_text("token 5")
            rows = page.side(place).locator(".token .row.sum .value")
            change = told["tokens"][4]["change"]
            expect(rows).to_have_text(nats(change))
        expect(page.side(0).locator(".token .row").first).to_contain_text("formal")


@pytest.mark.slow
@pytest.mark.browser
def test_tokens_are_read_by_keyboard(browser, served):
    with opened(browser, served, link()) as page:
        page.speak()
        tokens = page.side(0).locator(".t")
        tokens.first.focus()
        for key, place in (("ArrowRight", 1), ("ArrowDown", 2), ("ArrowLeft", 1), ("End", 5), ("Home", 0)):
            page.page.keyboard.press(key)
            expect(tokens.nth(place)).to_be_focused()
            expect(page.side(0).locator(".token .sub")).to_contain_text(f"token {place + 1} ")
        expect(page.side(0).locator(".t[tabindex='0']")).to_have_count(1)


@pytest.mark.browser
def test_a_link_carries_the_whole_page(browser, served):
    term = {"name": "poet", "kind": "prefix", "text": "O moon! ", "model": ""}
    mine = {"voice": "toy", "recipe": "", "formula": "base + 2 * (poet - base)", "terms": [term]}
    other = {"voice": "second", "recipe": "preadd", "formula": "formal", "terms": []}
    with opened(browser, served, link(sides=[mine, other]), permissions=["clipboard-read", "clipboard-write"]) as page:
        expect(page.formula(0)).to_have_value("base + 2 * (poet - base)")
        page.page.locator("#link").click()
        expect(page.page.locator("#said")).to_have_text("The link is copied.")
        address = page.page.evaluate("navigator.clipboard.readText()")
        assert address == page.page.url
    with opened(browser, served, "#" + address.partition("#")[2]) as page:
        expect(page.formula(0)).to_have_value("base + 2 * (poet - base)")
        expect(page.formula(1)).to_have_value("formal")
        expect(page.side(1).locator(".voice")).to_have_value("second")
        expect(page.side(1).locator(".recipe")).to_have_value("preadd")
        expect(page.side(0).locator(".term textarea")).to_have_value("O moon! ")
        expect(page.page.locator("#prompt")).to_have_value("hello")
        expect(page.page.locator("#seed")).to_have_value("7")
        expect(page.page.locator("input[value=plain]")).to_be_checked()
        page.speak()
        said = served.post(
            "/v1/completions",
            prompt="hello",
            seed=7,
            max_tokens=6,
            formula=mine["formula"],
            terms={"poet": {"prefix": "O moon! "}},
        )["choices"][0]["text"]
        expect(page.side(0).locator(".text .unseen")).to_have_text(said)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("#" + HOSTILE, "The link cannot be read"),
        (link()[:-9], "The link cannot be read"),
        (link(version=2), "The link cannot be read"),
        (link(mode="constructor"), "The link cannot be read"),
        (link(extra=1), "The link cannot be read"),
        (link(sides=[]), "The link cannot be read"),
        (link(sides=[{"voice": HOSTILE, "recipe": "", "formula": "x", "terms": []}] * 2), f"the voice “{HOSTILE}”"),
    ],
    ids=["markup", "cut", "version", "mode", "extra", "sides", "voice"],
)
def test_a_hostile_link_gives_a_sentence(browser, served, fragment, sentence):
    with opened(browser, served, fragment) as page:
        expect(page.page.locator("#notice")).to_contain_text(sentence)
        expect(page.page.locator("#prompt")).to_have_value("Why is the sea salty?")
        assert page.page.locator("img").count() == 0


@pytest.mark.browser
def test_a_page_of_explain_has_the_same_panel(browser, tmp_path):
    toy = la.model("toy")
    base, poet = toy.term(name="base", prefix=""), toy.term(name="poet", prefix="o! ")
    found = la.voice(base + 2 * (poet - base), max_new_tokens=6).explain("hello", seed=1)
    (tmp_path / "why.html").write_text(explain_page.page(found), encoding="utf-8")
    context = browser.new_context()
    page, troubles = context.new_page(), []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto((tmp_path / "why.html").as_uri())
    page.locator(".t[data-at='2']").hover()
    expect(page.locator("#panel .sub")).to_contain_text("token 3 ")
    expect(page.locator("#panel .row.sum .value")).to_have_text(nats(found.tokens[2].change))
    assert troubles == []
    context.close()


@pytest.mark.browser
def test_the_policy_holds(browser, served):
    with opened(browser, served) as page:
        tried = """async (address) => {
            const tries = {
                markup: () => { document.body.innerHTML = "<b>"; },
                inline: () => {
                    const script = document.createElement("script");
                    script.append("window.ran = true");
                    document.body.append(script);
                    if (!window.ran) throw new TypeError();
                },
                elsewhere: () => fetch(address),
            };
            const found = {};
            for (const [name, attempt] of Object.entries(tries)) {
                found[name] = await Promise.resolve().then(attempt).then(() => "done", (error) => error.name);
            }
            return found;
        }"""
        other = f"http://localhost:{served.port}/health"
        assert page.page.evaluate(tried, other) == dict.fromkeys(("markup", "inline", "elsewhere"), "TypeError")
        assert other not in page.asked
        page.troubles.clear()  # the browser tells of each


@pytest.mark.slow
@pytest.mark.browser
def test_what_a_link_says_stays_text(browser, served):
    term = {"name": HOSTILE, "kind": "system", "text": HOSTILE, "model": HOSTILE}
    side = {"voice": "toy", "recipe": HOSTILE, "formula": HOSTILE, "terms": [term]}
    with opened(browser, served, link(prompt=HOSTILE, sides=[side, side])) as page:
        expect(page.formula(0)).to_have_value(HOSTILE)
        expect(page.page.locator("#prompt")).to_have_value(HOSTILE)
        expect(page.side(0).locator(".mistake")).not_to_have_text("")
        page.page.click("#speak")
        expect(page.side(0).locator(".trouble")).to_be_visible()
        assert page.page.locator("img").count() == 0
        page.troubles[:] = [each for each in page.troubles if "status of 400" not in each]


@pytest.mark.slow
@pytest.mark.browser
def test_a_recipe_fills_formula_and_terms(browser, served):
    with opened(browser, served, link()) as page:
        page.side(0).locator(".recipe").select_option("dexperts")
        expect(page.formula(0)).to_have_value("base + 2 * (expert - antiexpert) + within(base, top_p=0.9)")
        expect(page.side(0).locator(".term input")).to_have_count(2)  # the voice has `base`
        expect(page.side(0).locator(".paper")).to_contain_text("Liu et al., ACL 2021")
        expect(page.side(0).locator(".recipe option[value=fudge]")).to_be_disabled()
        page.side(0).locator(".term textarea").first.fill("You are kind.")
        page.speak()
        expect(page.side(0).locator(".legend")).to_contain_text("antiexpert")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, served, scheme):
    from axe_playwright_python.sync_playwright import Axe

    wide = {"width": 360 if scheme == "dark" else 1200, "height": 800}
    with opened(browser, served, link(), color_scheme=scheme, viewport=wide, reduced_motion="reduce") as page:
        page.side(0).locator(".recipe").select_option("preadd")
        page.formula(1).fill("base + 0.5 * (wrong - base)")
        expect(page.side(1).locator(".mirror mark")).to_have_text("wrong")
        page.formula(1).fill("base + 0.5 * (formal - base)")
        page.speak()
        page.formula(1).press_sequentially("po")
        expect(page.side(1).locator(".formula [role=option]").first).to_be_visible()
        found = Axe().run(page.page).response
        assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]] == []
        assert {"color-contrast", "label", "aria-allowed-attr"} <= {each["id"] for each in found["passes"]}
        assert page.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.slow
@pytest.mark.browser
def test_a_key_a_stop_and_errors_of_the_server_are_said_in_a_sentence(browser, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY)
    (tmp_path / "wordy.toml").write_text(TOY.replace("= 12", "= 3900\nmin_new_tokens = 3900"))
    settings = tmp_path / "server"
    settings.write_text(f'voices = ["{tmp_path}"]\nallow = ["score"]\nmax_running = 1\nmax_waiting = 1\n')
    context = browser.new_context()
    with running("--settings", settings, LMALGEBRA_API_KEYS=KEY) as server:
        page = Page(context.new_page(), server)
        page.page.goto(page.address)
        page.page.get_by_label("API key").fill("a wrong key, which is long")
        page.page.keyboard.press("Enter")
        expect(page.page.locator("#notice")).to_have_text("The server does not know this key.")
        page.page.get_by_label("API key").fill(KEY)
        page.page.keyboard.press("Enter")
        expect(page.formula(0)).to_have_attribute("readonly", "")
        expect(page.side(0).locator(".recipe")).to_be_disabled()
        assert page.page.evaluate("[JSON.stringify(localStorage), document.cookie]") == ["{}", ""]
        page.page.keyboard.press("Control+Enter")
        expect(page.side(1).locator(".text")).not_to_be_empty()
        page.page.click("#stop")
        expect(page.side(1).locator(".status")).to_have_text("Stopped.")
        expect(page.page.locator("#stop")).to_be_disabled()
        assert server.wait_for(lambda: any(entry["status"] == 499 for entry in server.logged("request")))
        wordy = {"voice": "wordy", "recipe": "", "formula": "base", "terms": []}
        page.page.goto(page.address + link(max_tokens=None, sides=[wordy, wordy]))
        page.page.reload()  # the key is still there
        expect(page.page.locator("#notice")).to_contain_text("does not let requests bring formulas")
        page.page.route("**/v1/formula", lambda route: route.abort())
        page.page.click("#speak")
        expect(page.page.locator(".text").filter(has_text=re.compile("."))).to_have_count(1)  # the other waits
        other = Page(context.new_page(), server)
        other.page.goto(other.address)
        other.page.get_by_label("API key").fill(KEY)
        other.page.keyboard.press("Enter")
        other.page.click("#speak")
        expect(other.side(0).locator(".trouble")).to_contain_text("requests are in hand already. Try again in ")
        server.process.kill()
        troubles = page.page.locator(".trouble:visible")
        expect(troubles.filter(has_text="The connection was lost")).to_have_count(1)
        expect(troubles.filter(has_text="The server does not answer")).to_have_count(1)
        page.page.click("#speak")
        expect(page.side(0).locator(".trouble")).to_contain_text("The server does not answer")
    context.close()
