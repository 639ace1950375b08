"""The report pages as a reader's browser shows them, and their curves held against scikit-learn's.

Usage: report_browser_test.py path/to/fovea path/to/comparison_report_test. The pages are those of a real training on a small
synthetic set and of the comparison that comparison_report_test fills. Headless Chromium (Debian's, driven by the playwright
of `script/bootstrap --browser`) opens them from disk, light and dark, wide and as a phone, on paper and without JavaScript.
Without a browser only the figures are checked, the rest is counted as skipped, and the exit code is 77.
With FOVEA_SCREENSHOTS=DIR pictures of all of them go there.
"""
import csv
import glob
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FOVEA, COMPARISON = (os.path.abspath(path) for path in sys.argv[1:3])
CHROMIUM = shutil.which("chromium")
sys.path += glob.glob(os.path.join(HERE, "..", ".venv-browser", "lib", "python3*", "site-packages"))
try:
    from playwright.sync_api import sync_playwright
except ImportError:
    CHROMIUM = None
try:
    import numpy as np
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import auc, brier_score_loss, roc_curve
except ImportError:
    np = None
SCREENSHOTS = os.environ.get("FOVEA_SCREENSHOTS")
needs_browser = unittest.skipIf(CHROMIUM is None, "no browser to open the pages with: script/bootstrap --browser")

# Every element with text of its own: its contrast (WCAG 2), its words. Colours lie over those of all elements around them.
CONTRASTS = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
  const over = (top, under) => under.map((u, i) => top[3] * top[i] + (1 - top[3]) * u).slice(0, 3);
  const light = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const words = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join(' ').trim();
    const box = element.getBoundingClientRect();
    if (!words || !box.width || !box.height || element.matches('script, title')) continue;
    const around = [];
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) {
      around.push(e);
      opacity *= Number(getComputedStyle(e).opacity);
    }
    let under = [255, 255, 255];
    for (const e of around.reverse()) under = over(parse(getComputedStyle(e).backgroundColor), under);
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    ink[3] *= opacity;
    const [a, b] = [light(over(ink, under)), light(under)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), words]);
  }
  return found;
}"""
COLUMN = """name => {
  const table = document.querySelector('table.sortable');
  const column = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === name);
  return [...table.tBodies[0].rows].map(r => r.cells[column]).map(c => 'value' in c.dataset ? Number(c.dataset.value) : null);
}"""


def run(*arguments, **options):
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{arguments}: {result.stdout[-2000:]}{result.stderr}")


def read(path):
    with open(path) as file:
        return file.read()


def setUpModule():
    """A run with three classes, some mistakes and every modality, and a comparison."""
    global ROOT, RUN, PAGES
    ROOT = tempfile.mkdtemp(prefix="fovea-report-")
    unittest.addModuleCleanup(shutil.rmtree, ROOT)
    RUN, eyes = os.path.join(ROOT, "run"), os.path.join(ROOT, "eyes")
    comparison = os.path.join(ROOT, "comparison.html")
    run(FOVEA, "data", "synth", eyes, "-n", "75", "--image-size", "48", "--seed", "3")
    run(FOVEA, "train", "--data", eyes, "--model", "resnet18", "--image-size", "32", "--epochs", "3", "--lr",
        "0.0003", "--threads", "1", "--set", "resamples=100", "--output", RUN)
    run(COMPARISON, "--gtest_filter=ComparisonReport.HoldsEverything", env={**os.environ, "FOVEA_COMPARISON_PAGE": comparison})
    PAGES = {"run": os.path.join(RUN, "report.html"), "comparison": comparison}


@unittest.skipIf(np is None, "scikit-learn is not installed: script/bootstrap")
class FiguresTest(unittest.TestCase):
    """What the page of the run draws and states is what scikit-learn computes of predictions.csv."""

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(RUN, "predictions.csv")) as file:
            rows = list(csv.DictReader(file))
        cls.label = np.array([int(row["label"]) for row in rows])
        cls.p = np.array([[float(row[f"p{k}"]) for k in range(3)] for row in rows])
        cls.page = html.unescape(read(PAGES["run"]))

    def chart(self, name):
        """Of a chart: the lines' names and points in the values' units, and all of its text elements."""
        svg = re.search(rf'<svg [^>]*aria-label="{name}.*?</svg>', self.page, re.S).group()
        texts = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]*)', svg)
        ends = {words: (float(x), float(y)) for x, y, anchor, words in texts if anchor == "middle" and words in ("0", "1")}
        rows = {words: float(y) - 4 for x, y, anchor, words in texts if anchor == "end" and words in ("0", "1")}
        lines = {}
        for path, title in re.findall(r'<path class="line[^>]* d="([^"]*)"><title>([^<]*)', svg):
            points = np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", path)[1:]])
            x = (points[:, 0] - ends["0"][0]) / (ends["1"][0] - ends["0"][0])
            lines[title] = np.stack([x, (points[:, 1] - rows["0"]) / (rows["1"] - rows["0"])], 1)
        return lines, svg

    def test_roc(self):
        lines, _ = self.chart("ROC curves")
        areas = []
        for k in range(3):
            false_positive, true_positive, _ = roc_curve(self.label == k, self.p[:, k])
            areas.append(auc(false_positive, true_positive))
            name = f"{k} (AUC {areas[-1]:.3f})"
            self.assertIn(name, lines)
            for x, y in zip(false_positive, true_positive):  # every threshold lies on the line drawn
                drawn = lines[name]
                below, above = drawn[:-1], drawn[1:]
                share = np.clip(((x - below[:, 0]) * (above - below)[:, 0] + (y - below[:, 1]) * (above - below)[:, 1])
                                / np.maximum(((above - below) ** 2).sum(1), 1e-12), 0, 1)
                nearest = below + share[:, None] * (above - below)
                self.assertLess(np.hypot(nearest[:, 0] - x, nearest[:, 1] - y).min(), 2e-3)
        self.assertIn(f"mean of classes (AUC {np.mean(areas):.3f})", lines)

    def test_calibration(self):
        confidence, right = self.p.max(1), self.p.argmax(1) == self.label
        accuracy, mean = calibration_curve(right, confidence, n_bins=10)
        counts = np.histogram(np.ceil(confidence * 10 - 1e-12), np.arange(0.5, 11))[0]
        ece = (np.abs(accuracy - mean) * counts[counts > 0]).sum() / len(right)
        brier = sum(brier_score_loss(self.label == k, self.p[:, k]) for k in range(3))
        self.assertIn(f"Expected calibration error <b>{ece:.3f}</b>", self.page)
        self.assertIn(f"Brier score <b>{brier:.3f}</b>", self.page)
        _, svg = self.chart("Reliability diagram")
        self.assertEqual([int(n) for n in re.findall(r'y="36.0" text-anchor="middle">(\d+)<', svg)], list(counts))
        self.assertEqual(svg.count('class="bar"'), len(accuracy))

    def test_mistakes(self):
        wrong = np.flatnonzero(self.p.argmax(1) != self.label)
        self.assertGreater(len(wrong), 2, "the run must make mistakes to show")
        with open(os.path.join(RUN, "predictions.csv")) as file:
            ids = [row["id"] for row in csv.DictReader(file)]
        worst = sorted(wrong, key=lambda i: -self.p[i].max())[:8]
        self.assertEqual(re.findall(r'<article class="card"><h3>([^<]*)', self.page), [ids[i] for i in worst])


class EvaluateTest(unittest.TestCase):
    def test_report_of_an_evaluation(self):
        """`evaluate --report`: the page of the run's weights on any set, here on its own held-out part."""
        path = os.path.join(ROOT, "evaluated.html")
        run(FOVEA, "evaluate", "--run", RUN, "--report", path)
        section = re.compile("<h2>Metrics.*?<h2>Learning curves", re.S)
        self.assertEqual(section.search(read(path)).group(), section.search(read(PAGES["run"])).group())
        for wrong, code, says in (("page.txt", 2, "must end in .html"), (os.path.join(ROOT, "no", "page.html"), 1, "page.html")):
            result = subprocess.run([FOVEA, "evaluate", "--run", RUN, "--report", wrong], capture_output=True, text=True)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(says, result.stderr)


@needs_browser
class BrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.playwright = sync_playwright().start()
        cls.addClassCleanup(cls.playwright.stop)
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        cls.addClassCleanup(cls.browser.close)

    def open(self, name, width=1280, **options):
        """The page, which fails the test where it complains or asks for anything that is not in it."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.addCleanup(context.close)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))

        def serve(route):
            if route.request.url == "file://" + PAGES[name]:
                return route.continue_()
            asked.append(route.request.url)
            return route.abort()

        page.route("**/*", serve)
        page.goto("file://" + PAGES[name])
        self.addCleanup(lambda: self.assertEqual((said, asked), ([], [])))
        return page

    def picture(self, page, name):
        if SCREENSHOTS:
            os.makedirs(SCREENSHOTS, exist_ok=True)
            page.screenshot(path=os.path.join(SCREENSHOTS, name + ".png"), full_page=True)

    def check_width(self, page):
        widths = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        self.assertLessEqual(widths[0], widths[1])

    def test_light_and_dark(self):
        backgrounds = {}
        for name in PAGES:
            for scheme in ("light", "dark"):
                with self.subTest(page=name, scheme=scheme):
                    page = self.open(name, color_scheme=scheme)
                    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                    backgrounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    contrasts = page.evaluate(CONTRASTS)
                    self.assertGreater(len(contrasts), 100)
                    self.assertEqual([c for c in contrasts if c[0] < 4.5], [])
                    self.check_width(page)
                    self.picture(page, f"{name}-{scheme}")
        self.assertNotEqual(backgrounds["light"], backgrounds["dark"])

    def test_what_is_there(self):
        headings = {
            "run": ["Metrics", "Confusion matrix", "ROC curves", "Calibration", "Worst mistakes",
                    "Class activation maps", "Learning curves", "Configuration", "Environment"],
            "comparison": ["Results", "What failed", "Differences from hm-vgg (fundus)", "Spread over folds and seeds",
                           "ROC curves", "Confusion matrices", "Learning curves", "Worst mistakes", "Pages of the runs",
                           "Configuration", "Environment"],
        }
        for name in PAGES:
            with self.subTest(page=name):
                page = self.open(name)
                self.assertEqual(page.locator("h2").all_inner_texts(), headings[name])
                self.assertTrue(page.title())
                self.assertEqual(page.title(), page.locator("h1").inner_text())
                boxes = page.evaluate("[...document.querySelectorAll('svg[role=img]')].map(s => [s.ariaLabel, s.clientWidth, s.clientHeight])")
                self.assertGreaterEqual(len(boxes), 4)
                for label, width, height in boxes:
                    self.assertTrue(label)
                    self.assertGreater(min(width, height), 100, label)
                images = page.evaluate("[...document.images].map(i => [i.alt, i.complete && i.naturalWidth, i.clientWidth])")
                self.assertTrue(all(alt and natural > 0 and shown > 0 for alt, natural, shown in images), images)
                self.assertEqual(bool(images), name == "run")

    def test_phone(self):
        for name in PAGES:
            with self.subTest(page=name):
                page = self.open(name, width=360, device_scale_factor=2)
                self.picture(page, f"{name}-phone")
                page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                self.check_width(page)
                sizes = page.evaluate("""[...document.querySelectorAll('svg[role=img]')].map(
                    s => 11 * s.clientWidth / s.viewBox.baseVal.width)""")
                self.assertGreater(min(sizes), 9, "letters of charts stay readable")

    def test_long_names(self):
        """Names that nothing can break but the page: it still does not scroll sideways, only its tables do."""
        long = 30 * "Wide_"
        for name, parts in (("run", ["labels.csv", "<dt>Set", ">0<", "0 (AUC"]),
                            ("comparison", ["hm-vgg (fundus", "mid or advanced", "7 models", "<dd>eyes", "paired bootstrap"])):
            with self.subTest(page=name):
                text = read(PAGES[name])
                for part in parts:
                    self.assertIn(part, text)
                    text = text.replace(part, part[:1] + long + part[1:])
                stretched = os.path.join(ROOT, name + "-long.html")
                with open(stretched, "w") as file:
                    file.write(text)
                PAGES["stretched"] = stretched
                self.addCleanup(PAGES.pop, "stretched", None)
                for width in (360, 1280):
                    page = self.open("stretched", width=width)
                    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                    self.check_width(page)

    def test_print(self):
        for name in PAGES:
            with self.subTest(page=name):
                page = self.open(name, width=794, color_scheme="dark")
                page.emulate_media(media="print", color_scheme="dark")
                self.assertEqual(page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
                self.assertGreater(page.evaluate("document.querySelector('details pre').getBoundingClientRect().height"), 0,
                                   "what is folded on the screen is printed")
                for width, table in ((690, "table:not(.sortable)"), (1020, "table.sortable")):  # A4 upright, and across
                    page.set_viewport_size({"width": width, "height": 900})
                    widths = page.evaluate(f"[...document.querySelectorAll('{table}')].map(t => t.scrollWidth)")
                    self.assertLessEqual(max(widths, default=0), width)
                pdf = page.pdf(format="A4", prefer_css_page_size=True)
                self.assertTrue(pdf.startswith(b"%PDF"))
                self.assertGreater(len(re.findall(rb"/Type\s*/Page\b", pdf)), 1)
                if SCREENSHOTS:
                    with open(os.path.join(SCREENSHOTS, name + ".pdf"), "wb") as file:
                        file.write(pdf)

    def test_sorting(self):
        page = self.open("comparison")
        head = page.locator("table.sortable thead th", has=page.get_by_role("button", name="accuracy", exact=True))
        given = page.evaluate(COLUMN, "accuracy")
        values = sorted(v for v in given if v is not None)
        self.assertGreater(len(set(values)), 3)
        self.assertIn(None, given)
        for order, wanted in (("descending", values[::-1]), ("ascending", values), ("descending", values[::-1])):
            head.get_by_role("button").click()
            self.assertEqual(page.evaluate(COLUMN, "accuracy"), wanted + [None], "rows without a value stay last")
            self.assertEqual(head.get_attribute("aria-sort"), order)
        parameters = page.get_by_role("button", name="parameters", exact=True)
        parameters.click()
        self.assertEqual(page.locator("[aria-sort]").all_inner_texts(), ["parameters"])
        self.assertEqual(page.evaluate(COLUMN, "accuracy"), given, "equal rows keep the order of the page")

    def test_sorting_by_keyboard(self):
        page = self.open("comparison")
        names = "[...document.querySelectorAll('table.sortable tbody th')].map(c => c.firstChild.textContent.trim())"
        page.keyboard.press("Tab")  # the table itself, to scroll it
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "model")
        page.keyboard.press("Enter")
        ascending = page.evaluate(names)
        self.assertEqual(ascending[0], "convnext_tiny")
        self.assertEqual(page.locator("[aria-sort=ascending]").inner_text(), "model")
        page.keyboard.press("Space")
        self.assertEqual(page.evaluate(names), ascending[::-1])

    def test_without_javascript(self):
        page = self.open("comparison", java_script_enabled=False)
        self.assertEqual(page.locator("table.sortable tbody tr").count(), 7)
        self.assertEqual(page.locator("table.sortable button").count(), 0)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
