import base64
import re
from functools import partial
from html.parser import HTMLParser

import pytest

from lopsided.report import figure_mean_logits, render_page, to_png, write_report

VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Checks that tags nest, and keeps tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.slow
def test_report_is_whole_and_self_contained(tmp_path, monkeypatch, digits_run, collapsed_run, checks):
    coarse = partial(to_png, dpi=30)
    monkeypatch.setattr("lopsided.report.writing.to_png", coarse)
    told: list[tuple[str, int, int]] = []
    runs = [digits_run, collapsed_run]
    page = write_report(tmp_path / "new", "A demo", "What was done", runs, checks, lambda *each: told.append(each))
    drawn = [name for name, _, _ in told]
    assert [progress for _, *progress in told] == [[number, 7] for number in range(1, 8)]
    files = sorted(path.name for path in page.parent.iterdir())
    assert files == sorted([*(f"{name}.png" for name in drawn), "report.html"])
    assert drawn[:3] == ["overview", "merged-classes", "training"]
    assert (page.parent / "mean-logits-between.png").read_bytes() == coarse(figure_mean_logits(digits_run))
    content = page.read_text(encoding="utf-8")
    reader = read(content)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == len(drawn) == 7
    for attributes, name in zip(images, drawn, strict=True):
        kind, data = (attributes["src"] or "").split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == (page.parent / f"{name}.png").read_bytes()
        assert len(attributes["alt"] or "") > 30
    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert not re.search(r"https?://|url\(", content)
    assert "prefers-color-scheme: dark" in content
    assert "At λ_z = 0.02 all classes have merged, as predicted." in reader.text


def test_text_of_users_is_escaped(digits_run, checks):
    page = render_page("<script>alert(1)</script>", 'a "lead" & $more', [digits_run], checks)
    reader = read(page)
    tags = {tag for tag, _ in reader.tags}
    assert not {"script", "i", "alert"} & tags
    assert page.count("<b>") == page.count("</b>") == 6  # the page's own words to explain
    assert 'a "lead" & $more' in reader.text
    assert "the loss rose <b>once</b>" in reader.text
    assert "<i>two</i>" in reader.text


@pytest.mark.parametrize(("kept", "words"), [(1, "The target holds: 1 of 1"), (2, "does not hold: 1 of 2")])
def test_verdict(digits_run, checks, kept, words):
    reader = read(render_page("t", "l", [digits_run], checks[:kept]))
    assert words in reader.text


def test_without_checks_there_is_no_verdict(digits_run):
    assert "target" not in read(render_page("t", "l", [digits_run], [])).text


def test_runs_that_would_overwrite_each_other_are_refused(tmp_path, digits_run):
    with pytest.raises(ValueError, match=r"^runs must have names that differ[^\n]*; got between, between$"):
        write_report(tmp_path / "new", "t", "l", [digits_run, digits_run])
    assert not (tmp_path / "new").exists()


def test_folder_that_cannot_be_written(tmp_path, digits_run):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^output must be a folder that can be written; got '[^\n]*$"):
        write_report(tmp_path / "file", "t", "l", [digits_run])
