"""Opens a page in Qt's Chromium without a screen and runs scripts in it.

    echo '["document.title"]' | python tests/eval/browser.py page.html

Prints a JSON object: `results`, what each script gave, and `requests`, the URLs that
the page asked for. Alone in its process: a browser wants the main thread, and a system
library that it misses ends the process.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")  # as root there is none
os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--disable-gpu")

from PySide6.QtCore import QUrl
from PySide6.QtWebEngineCore import (
    QWebEnginePage,
    QWebEngineProfile,
    QWebEngineUrlRequestInterceptor,
)
from PySide6.QtWidgets import QApplication


class Requests(QWebEngineUrlRequestInterceptor):
    def __init__(self):
        super().__init__()
        self.urls = []

    def interceptRequest(self, info):  # noqa: N802: Qt's name
        self.urls.append(info.requestUrl().toString())


def main():
    application = QApplication(sys.argv[:1])
    scripts, results = json.load(sys.stdin), []
    requests, profile = Requests(), QWebEngineProfile()
    profile.setUrlRequestInterceptor(requests)
    page = QWebEnginePage(profile)

    def run_next():
        if len(results) == len(scripts):
            print(json.dumps({"results": results, "requests": requests.urls}))
            sys.stdout.flush()
            os._exit(0)  # nothing is kept; Qt's own way out waits for its threads
        page.runJavaScript(f"JSON.stringify({scripts[len(results)]})", take)

    def take(result):
        results.append(json.loads(result))
        run_next()

    page.loadFinished.connect(lambda loaded: run_next() if loaded else os._exit(3))
    page.load(QUrl.fromLocalFile(str(pathlib.Path(sys.argv[1]).resolve())))
    return application.exec()


if __name__ == "__main__":
    sys.exit(main())
